package bench

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// forkVariable makes a process one that forks for another: it has the number of its pages.
const forkVariable = "PTEMU_BENCH_FORK"

// forking measures fork() of a process with as many pages. It must be a process of its own, since the memory of this
// one would be copied too; so the program starts itself anew, and asks for a fork whenever it is time.
func forking(v Variant) Variant {
	f := &forks{pages: v.PTEs}
	v.Note += ", less that of the same process without them"
	v.clock = func() time.Duration { return f.spent }
	v.Close = f.close
	v.Pass = func(odd int) (int64, error) {
		if odd == 1 {
			return 0, nil
		}
		return int64(f.pages), f.fork()
	}
	return v
}

// forks is the process that forks.
type forks struct {
	pages int
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.Reader
	spent time.Duration // by all forks
}

func (f *forks) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	f.cmd = exec.Command(self)
	f.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", forkVariable, f.pages))
	f.cmd.Stderr = os.Stderr
	if f.in, err = f.cmd.StdinPipe(); err == nil {
		f.out, err = f.cmd.StdoutPipe()
	}
	if err != nil {
		return err
	}
	return f.cmd.Start()
}

// fork makes the process fork once.
func (f *forks) fork() error {
	if f.cmd == nil {
		if err := f.start(); err != nil {
			f.cmd = nil
			return &refused{fmt.Sprintf("a second process: %v", err)}
		}
	}
	var b [8]byte
	_, err := f.in.Write(b[:1])
	if err == nil {
		_, err = io.ReadFull(f.out, b[:])
	}
	if err != nil {
		return &refused{fmt.Sprintf("the process that forks has ended: %v", err)}
	}
	f.spent += time.Duration(binary.LittleEndian.Uint64(b[:]))
	return nil
}

func (f *forks) close() error {
	if f.cmd == nil {
		return nil
	}
	f.in.Close()
	err := f.cmd.Wait()
	f.cmd = nil
	return err
}

// ServeForks does what a program that measures must do first: if it was started by itself to fork, it serves, and
// reports that there is nothing else to do.
func ServeForks() (served bool, err error) {
	n, err := strconv.Atoi(os.Getenv(forkVariable))
	if err != nil {
		return false, nil
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	var bare [9]time.Duration
	for i := range bare {
		if bare[i], err = timeFork(); err != nil {
			return true, err
		}
	}
	slices.Sort(bare[:])
	m := &kernelMem{kernelCall: kernelCall{op: opFork}, n: n}
	if err := m.prepare(); err != nil {
		return true, err
	}
	defer m.close()
	return true, serveForks(os.Stdin, os.Stdout, bare[len(bare)/2])
}

// serveForks forks once for each byte read, and answers with the nanoseconds.
func serveForks(in io.Reader, out io.Writer, less time.Duration) error {
	var b [8]byte
	for {
		if _, err := io.ReadFull(in, b[:1]); err != nil {
			return nil // the other end is done
		}
		t, err := timeFork()
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(b[:], uint64(max(t-less, 1)))
		if _, err := out.Write(b[:]); err != nil {
			return err
		}
	}
}

// timeFork forks a child that ends at once, and returns the processor time that this took here. The child runs no Go
// code but the next system call.
func timeFork() (time.Duration, error) {
	start := threadTime()
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e == 0 && pid == 0 {
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	took := threadTime() - start
	if e != 0 {
		return 0, e
	}
	for {
		if _, err := unix.Wait4(int(pid), nil, 0, nil); err != unix.EINTR {
			return took, err
		}
	}
}
