//go:build linux && amd64

package main

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// buildShared builds the regions that a child process shares, and then the child.
// It comes first so that no later region is shared: later pages stay exclusive.
func (b *builder) buildShared() error {
	cow, err := b.written("cow")
	if err != nil {
		return err
	}
	cowUffd, err := b.written("cow_uffd")
	if err != nil {
		return err
	}
	if uffd, err := b.registerWP(cowUffd, 0); err != nil {
		fmt.Fprintln(b.notes, "NOTE", cowUffd.name, err)
	} else if err := uffdProtect(uffd, cowUffd, 16, 48, true); err != nil {
		fmt.Fprintln(b.notes, "NOTE", cowUffd.name, err)
	}
	forkSwap, err := b.written("fork_swap")
	if err != nil {
		return err
	}
	if err := forkSwap.pageOut(0, 32); err != nil {
		fmt.Fprintln(b.notes, "NOTE", forkSwap.name, err)
	}
	thp, err := b.huge("thp_cow", 2)
	if err != nil {
		return err
	}
	thp.write(0, thp.pages())

	flag, err := b.add("fork_flag", pageSize, readWrite, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return err
	}
	pid, errno := forkChild(cow.mem, flag.mem)
	if errno != 0 {
		return errno
	}
	fmt.Fprintln(b.notes, "CHILD", pid)
	for deadline := time.Now().Add(20 * time.Second); flag.mem[0] == 0; {
		if time.Now().After(deadline) {
			return fmt.Errorf("child did not come up: %w", errShort)
		}
		time.Sleep(time.Millisecond)
	}
	// Pages 0..7 were copied by the child, 8..23 are copied here, the rest stays shared.
	cow.write(8, 24)
	thp.write(0, 1)
	return nil
}

// forkChild makes a child that writes the first eight pages of cow, sets flag and
// sleeps for ever. The child has only this thread, so it must not call the runtime.
//
//go:nosplit
//go:norace
func forkChild(cow, flag []byte) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if pid != 0 || errno != 0 {
		return pid, errno
	}
	for i := 0; i < 8*pageSize && i < len(cow); i += pageSize {
		cow[i] = 0xcc
	}
	if len(flag) > 0 {
		flag[0] = 1
	}
	for {
		syscall.RawSyscall(syscall.SYS_PAUSE, 0, 0, 0)
	}
}
