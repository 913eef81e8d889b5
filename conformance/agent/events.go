//go:build linux && amd64

package main

import (
	"encoding/binary"
	"syscall"

	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

// Process 1 reads the events of the userfaultfds that the host has it watch: a process that has caused one waits until
// somebody has read it.
var (
	watched  [wire.Slots]int32 // descriptors
	watches  int
	pollSets [wire.Slots + 1]unix.PollFd // the pipe of answers, then those
	message  [32]byte
)

// Events of userfaultfd. Linux: include/uapi/linux/userfaultfd.h:struct uffd_msg
const (
	eventFork     = 0x13
	eventArgument = 8
)

// watch adds a userfaultfd.
func watch(fd int32) {
	if watches < len(watched) {
		watched[watches] = fd
		watches++
	}
}

// unwatch removes it.
func unwatch(fd int32) {
	for i := range watches {
		if watched[i] == fd {
			watches--
			watched[i] = watched[watches]
			return
		}
	}
}

// answered waits for an answer, and reports whether there is one. Meanwhile it reads events.
func answered(milliseconds uintptr) bool {
	pollSets[0] = unix.PollFd{Fd: int32(answers[0]), Events: unix.POLLIN}
	for i, fd := range watched[:watches] {
		pollSets[i+1] = unix.PollFd{Fd: fd, Events: unix.POLLIN}
	}
	n, _, errno := syscall.RawSyscall(unix.SYS_POLL, pollSetsAddress(), uintptr(watches+1), milliseconds)
	if errno != 0 || n == 0 {
		return false
	}
	for i := range watches {
		if pollSets[i+1].Revents&unix.POLLIN != 0 {
			readEvent(watched[i])
		}
	}
	return pollSets[0].Revents&unix.POLLIN != 0
}

// readEvent reads an event. With that of a fork comes the child's userfaultfd.
func readEvent(fd int32) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), messageAddress(), uintptr(len(message)))
	if errno != 0 || int(n) != len(message) || message[0] != eventFork {
		return
	}
	child := binary.LittleEndian.Uint32(message[eventArgument:])
	slot(0)[wire.Forked] = uint64(child)
	watch(int32(child))
}
