// Package vm runs a Linux kernel in QEMU with the project's agent as its init program, and reads the guest's memory
// while it runs.
//
// The guest's RAM is files that QEMU maps shared; so do we. There are two NUMA nodes, each a file. Frames of the guest
// are read where they lie ([Machine] is a physmem.Reader), and commands for the agent are written there (package wire); a
// serial port carries the bells. The root table of a process is read from CR3 while that process spins in user mode.
//
// There is one processor, without acceleration, so nothing runs in the guest between a command's end and the next ring,
// but for interrupts.
package vm

import "errors"

// ErrNotPrepared: there is no kernel, or no QEMU. The message says which, and what to do.
var ErrNotPrepared = errors.New("not prepared")
