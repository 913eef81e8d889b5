//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

const port = "/dev/ttyS1"

var (
	pids    [wire.Slots]int
	status  int32
	pollSet unix.PollFd
	// portFile is the bell's serial port.
	portFile int
)

// serve is the life of process 1: it passes bells on. It returns when the port fails.
func serve() error {
	if err := openPort(); err != nil {
		return err
	}
	if err := openPipes(); err != nil {
		return err
	}
	pages, err := blockFrames()
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stdout, "BLOCK")
	for _, pfn := range pages {
		fmt.Fprintf(os.Stdout, " %x", pfn)
	}
	fmt.Fprintln(os.Stdout, "\nREADY")
	return answerBells()
}

// openPipes makes the pipes between process 1 and the others.
func openPipes() error {
	if err := unix.Pipe2(answers[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	for i := range commands {
		if err := unix.Pipe2(commands[i][:], unix.O_CLOEXEC); err != nil {
			return err
		}
	}
	return nil
}

// answerBells rings once, and then passes bells on. It returns when the bell fails.
func answerBells() error {
	ring(wire.Booted)
	for {
		got, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(portFile), bellAddress(), 1)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 || got != 1 {
			return fmt.Errorf("bell: %d %w", got, errno)
		}
		n := int(bell)
		if n >= wire.Slots {
			return fmt.Errorf("ring for slot %d", n)
		}
		if n == 0 {
			ring(own(slot(0)))
			continue
		}
		ring(pass(n))
	}
}

func ring(b byte) {
	bell = b
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(portFile), bellAddress(), 1)
}

// openPort opens the serial port for bytes as they are.
func openPort() error {
	fd, err := unix.Open(port, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", port, err)
	}
	portFile = fd
	raw := unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200}
	raw.Cc[unix.VMIN] = 1
	return unix.IoctlSetTermios(fd, unix.TCSETS, &raw)
}

// patience is how long a process may take to answer or to end, step how often is looked; in milliseconds.
const patience, step = 10000, 20

// pass has a process perform what its slot holds, and returns the answer.
func pass(n int) byte {
	if pids[n] == 0 {
		return wire.Died
	}
	bell = byte(n)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(commands[n][1]), bellAddress(), 1)
	for waited := 0; waited < patience; waited += step {
		if answered(step) {
			syscall.RawSyscall(unix.SYS_READ, uintptr(answers[0]), bellAddress(), 1)
			if m := slot(n); m[wire.Op] == wire.OpFork && int64(m[wire.Result]) > 0 {
				pids[m[wire.Arg]] = int(m[wire.Result])
			}
			return wire.Done
		}
		if reaped(n) {
			return wire.Died
		}
	}
	return wire.Stuck
}

// reaped reports that the process of a slot has ended, and takes note.
func reaped(n int) bool {
	got, _, _ := syscall.RawSyscall6(unix.SYS_WAIT4, uintptr(pids[n]), statusAddress(), unix.WNOHANG, 0, 0, 0)
	if int(got) != pids[n] {
		return false
	}
	slot(n)[wire.Result] = uint64(status)
	pids[n] = 0
	drain(n)
	return true
}

// drain empties the pipe of a process that has ended.
func drain(n int) {
	for {
		pollSet = unix.PollFd{Fd: int32(commands[n][0]), Events: unix.POLLIN}
		if ready, _, _ := syscall.RawSyscall(unix.SYS_POLL, pollAddress(), 1, 0); ready != 1 {
			return
		}
		syscall.RawSyscall(unix.SYS_READ, uintptr(commands[n][0]), bellAddress(), 1)
	}
}

// own performs a command for process 1 itself, and returns the answer.
func own(m *words) byte {
	switch m[wire.Op] {
	case wire.OpSpawn:
		n := int(m[wire.Arg])
		runtime.Gosched() // a child with a request to be preempted would hang in the scheduler
		if fork(m, 0) {
			work(n) // for ever
		}
		if pid := int(int64(m[wire.Result])); pid > 0 {
			pids[n] = pid
		}
	case wire.OpReset:
		if !reset() {
			return wire.Stuck
		}
	case wire.OpWatch:
		watch(int32(m[wire.Arg]))
	case wire.OpUnwatch:
		unwatch(int32(m[wire.Arg]))
	case wire.OpRead:
		m[wire.Result] = readFile()
	case wire.OpWrite:
		m[wire.Result] = writeFile(m[wire.Arg])
	case wire.OpSyscall:
		perform(m, 0)
	}
	return wire.Done
}

// reset ends all processes, and reports whether they have ended. One that does not return from a call may not.
func reset() bool {
	watches = 0
	for n := range pids {
		if pids[n] != 0 {
			syscall.RawSyscall(unix.SYS_KILL, uintptr(pids[n]), uintptr(unix.SIGKILL), 0)
		}
	}
	ended := true
	for n := range pids {
		for waited := 0; pids[n] != 0 && !reaped(n) && waited < patience; waited++ {
			syscall.RawSyscall(unix.SYS_POLL, 0, 0, 1)
		}
		ended = ended && pids[n] == 0
		drain(n)
	}
	return ended
}

func errnoOf(err error) uint64 {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return -uint64(errno)
	}
	errno = unix.EIO
	return -uint64(errno)
}
