//go:build linux && amd64

package main

import (
	"syscall"

	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

var (
	// commands are the pipes on which processes wait, by slot; answers is the one on which all answer. Read end, write end.
	commands [wire.Slots][2]int
	answers  [2]int
	bell     byte
)

// growStack gives the calling goroutine a stack that raw processes need not grow.
//
//go:noinline
func growStack() byte {
	var room [256 << 10]byte
	for i := 0; i < len(room); i += wire.PageSize {
		room[i] = bell
	}
	return room[len(room)/2]
}

// work is the life of a process: it performs commands until it is killed.
func work(n int) {
	catchSignals()
	for {
		if got, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(commands[n][0]), bellAddress(), 1); errno != 0 || got != 1 {
			syscall.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
		}
		m := slot(n)
		if m[wire.Op] == wire.OpFork {
			child := int(m[wire.Arg])
			if forked := fork(m, unix.CLONE_PARENT); forked {
				n = child
				continue
			}
		} else {
			perform(m, n)
		}
		syscall.RawSyscall(unix.SYS_WRITE, uintptr(answers[1]), bellAddress(), 1)
	}
}

// fork makes a process like the calling one, and reports true in it.
func fork(m *words, flags uintptr) bool {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, flags|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		return true
	}
	m[wire.Result] = result(pid, errno)
	return false
}

func result(r uintptr, errno syscall.Errno) uint64 {
	if errno != 0 {
		return -uint64(errno)
	}
	return uint64(r)
}

func perform(m *words, n int) {
	switch m[wire.Op] {
	case wire.OpSyscall:
		a := m[wire.Arg : wire.Arg+7]
		r, _, errno := syscall.RawSyscall6(uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4]), uintptr(a[5]), uintptr(a[6]))
		m[wire.Result] = result(r, errno)
	case wire.OpAccess:
		doAccess(m, data(n), uintptr(wire.DataAddress(n)))
	case wire.OpSpin:
		spin(&m[wire.Spin], wire.SpinSign(n))
	case wire.OpThread:
		m[wire.Result] = uint64(thread())
	case wire.OpPKRU:
		setPKRU(uint32(m[wire.Arg]))
	}
}
