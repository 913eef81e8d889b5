//go:build linux && amd64

package main

import (
	"fmt"

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
	switch {
	case thp == nil:
		return err
	case err != nil: // its pages are small then
		fmt.Fprintln(b.notes, "NOTE", thp.name, err)
	}
	thp.write(0, thp.pages())

	flag, err := b.add("fork_flag", pageSize, readWrite, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return err
	}
	ready := &flags{mem: flag.mem}
	pid, err := forkSteps([]childStep{doWrite(cow.slice(0, 8)), ready.next()})
	if err != nil {
		return err
	}
	fmt.Fprintln(b.notes, "CHILD", pid)
	if err := ready.wait(); err != nil {
		return err
	}
	// Pages 0..7 were copied by the child, 8..23 are copied here, the rest stays shared.
	cow.write(8, 24)
	thp.write(0, 1)
	return nil
}
