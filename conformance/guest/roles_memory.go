//go:build linux && amd64

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// buildOrdinary is what every program has: written, unwritten and read-only memory.
func buildOrdinary(b *builder) error {
	if _, err := b.written("ordinary"); err != nil {
		return err
	}
	if err := b.writtenThen("constants", unix.PROT_READ); err != nil {
		return err
	}
	return buildAnonZero(b)
}

// buildFamily has a child, a grandchild and a second child: pages shared by two, three and four of them, pages copied
// by one, and areas that only one of them changed.
func buildFamily(b *builder) error {
	private, err := b.written("private")
	if err != nil {
		return err
	}
	protected, err := b.written("protected")
	if err != nil {
		return err
	}
	file, err := b.file("family", "/shm", regionPages*pageSize, readWrite, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	file.read(0, file.pages())
	file.write(0, 32)
	shared, err := b.add("shared", regionPages*pageSize, readWrite, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return err
	}
	ready, err := newFlags(3)
	if err != nil {
		return err
	}
	const afterGrandchild = 10
	child := []childStep{
		doName("child 1"),
		doWrite(private.slice(0, 8)),
		doWrite(file.slice(24, 40)),
		doWrite(shared.slice(0, 16)),
		doCall(stepFork, afterGrandchild),
		doName("grandchild"),
		doWrite(private.slice(4, 16)),
		doCall(unix.SYS_MUNMAP, protected.addr, 16*pageSize),
		ready.next(),
		doCall(stepSleep),
		ready.next(),
	}
	if _, err := forkSteps(child); err != nil {
		return err
	}
	other := []childStep{
		doName("child 2"),
		doRead(shared.slice(0, 64)),
		doCall(unix.SYS_MPROTECT, protected.addr+8*pageSize, 8*pageSize, unix.PROT_READ),
		doCall(unix.SYS_MPROTECT, private.addr+40*pageSize, 8*pageSize, unix.PROT_NONE),
		doCall(unix.SYS_MREMAP, file.addr, uintptr(len(file.mem)), uintptr(len(file.mem)), unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, file.addr+regionStep/2),
		ready.next(),
	}
	if _, err := forkSteps(other); err != nil {
		return err
	}
	if err := ready.wait(); err != nil {
		return err
	}
	private.write(12, 20)
	return nil
}

// buildThreads has six threads with names besides those of the runtime.
func buildThreads(b *builder) error {
	if _, err := b.written("work"); err != nil {
		return err
	}
	named := make(chan error)
	for i := range 6 {
		go func() {
			lockThread()
			named <- setName(fmt.Sprintf("worker (%d)", i))
			sleepRaw()
		}()
	}
	for range 6 {
		if err := <-named; err != nil {
			return err
		}
	}
	return nil
}

// buildVMShare has two processes with the address space of this one. A clone with CLONE_VFORK
// needs no stack of its own: its parent's thread sleeps until the child ends, which it never does.
func buildVMShare(b *builder) error {
	work, err := b.written("work")
	if err != nil {
		return err
	}
	ready, err := newFlags(2)
	if err != nil {
		return err
	}
	for i := range 2 {
		steps := []childStep{doName(fmt.Sprintf("same mm %d", i)), doWrite(work.slice(i, i+1)), ready.next(), doCall(stepSleep)}
		go func() {
			lockThread()
			forkRaw(steps, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD))
		}()
	}
	return ready.wait()
}

// buildMergeable has pages that kernel samepage merging makes one of, with those of another process.
func buildMergeable(b *builder) error {
	r, err := b.anon("mergeable")
	if err != nil {
		return err
	}
	for i := range r.mem[:32*pageSize] {
		r.mem[i] = byte(i%pageSize>>4) | 1
	}
	return r.advise(0, r.pages(), unix.MADV_MERGEABLE)
}

// buildNames has children with names that a parser could stumble over.
func buildNames(b *builder) error {
	if _, err := b.written("work"); err != nil {
		return err
	}
	odd := []string{"", " ", "(sd-pam)", "a b) S 1 1 (", "tab\tnl\nend", "größe ✓", "fifteen-chars-x", `back\slash"`, "\x01\x7f\xff", "kworker/0:9"}
	ready, err := newFlags(len(odd))
	if err != nil {
		return err
	}
	for _, name := range odd {
		if _, err := forkSteps([]childStep{doName(name), ready.next()}); err != nil {
			return err
		}
	}
	return ready.wait()
}
