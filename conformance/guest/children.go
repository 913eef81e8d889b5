//go:build linux && amd64

package main

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Children are forked without the runtime: they have one thread, which must not call
// anything of it. What a child does is therefore a list made by the parent.

// childStep is a system call, or a pseudo call that touches memory.
type childStep struct {
	call uintptr
	args [6]uintptr
}

const (
	stepWrite = ^uintptr(iota) // writes a byte to each page of address, length
	stepRead                   // reads a byte of each page of address, length
	stepFork                   // forks; the child goes on with the list, the parent jumps to step args[0]
	stepSleep                  // sleeps until a signal comes, again and again
	stepExit                   // ends
)

func doCall(call uintptr, args ...uintptr) childStep {
	s := childStep{call: call}
	copy(s.args[:], args)
	return s
}

func doWrite(mem []byte) childStep { return doCall(stepWrite, addrOf(mem), uintptr(len(mem))) }
func doRead(mem []byte) childStep  { return doCall(stepRead, addrOf(mem), uintptr(len(mem))) }

// doName sets the name of the calling thread. The bytes are never freed.
func doName(name string) childStep {
	raw := make([]byte, 16)
	copy(raw[:15], name)
	keepForChildren = append(keepForChildren, raw)
	return doCall(unix.SYS_PRCTL, unix.PR_SET_NAME, addrOf(raw))
}

// keepForChildren holds memory that children's lists point to.
var keepForChildren [][]byte

// flags is a shared page in which children say that they are ready.
type flags struct {
	mem  []byte
	used int
}

func newFlags(n int) (*flags, error) {
	mem, err := unix.Mmap(-1, 0, n, readWrite, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	return &flags{mem: mem}, err
}

// next returns the step that raises the next flag.
func (f *flags) next() childStep {
	f.used++
	return doWrite(f.mem[f.used-1 : f.used])
}

// wait waits until every flag given out is raised.
func (f *flags) wait() error {
	deadline := time.Now().Add(60 * time.Second)
	for i := 0; i < f.used; {
		if f.mem[i] != 0 {
			i++
			continue
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("child %d did not come up: %w", i, errShort)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// forkSteps makes a child that performs the steps and then sleeps for ever.
func forkSteps(steps []childStep) (pid int, err error) {
	child, errno := forkRaw(append(steps, doCall(stepSleep)), uintptr(syscall.SIGCHLD))
	if errno != 0 {
		return 0, fmt.Errorf("fork: %w", errno)
	}
	return int(child), nil
}

// forkRaw clones and returns in the parent only.
//
//go:nosplit
//go:norace
func forkRaw(steps []childStep, cloneFlags uintptr) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, cloneFlags, 0, 0, 0, 0, 0)
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	for i := 0; i < len(steps); i++ {
		s := &steps[i]
		switch s.call {
		case stepWrite, stepRead:
			touchRaw(s.args[0], s.args[1], s.call == stepWrite)
		case stepFork:
			pid, _, _ = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
			if pid != 0 {
				i = int(s.args[0]) - 1
			}
		case stepSleep:
			for {
				syscall.RawSyscall(syscall.SYS_PAUSE, 0, 0, 0)
			}
		case stepExit:
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		default:
			syscall.RawSyscall6(s.call, s.args[0], s.args[1], s.args[2], s.args[3], s.args[4], s.args[5])
		}
	}
	return 0, 0
}
