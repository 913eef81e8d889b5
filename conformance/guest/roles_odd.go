//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

func lockThread() { runtime.LockOSThread() }

// buildHeadless ends its first thread: the process lives on in the others, its leader is a zombie without memory.
func buildHeadless(b *builder) error {
	if _, err := b.written("work"); err != nil {
		return err
	}
	go func() {
		lockThread()
		if err := errors.Join(setName("the rest of it"), waitForState(os.Getpid(), 'Z')); err != nil {
			fmt.Fprintln(b.notes, "NOTE headless", err)
		}
		sayReady()
		sleepRaw()
	}()
	unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	return errShort
}

// waitForState waits until /proc says that the process is in a state.
func waitForState(pid int, state byte) error {
	for range 500 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return err
		}
		if at := bytes.LastIndexByte(stat, ')'); at >= 0 && len(stat) > at+2 && stat[at+2] == state {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("process %d is not in state %c: %w", pid, state, errShort)
}

// makeZombie has a child that has ended and that nobody has waited for.
func makeZombie() error {
	pid, err := forkSteps([]childStep{doName("zombie) Z ("), doCall(stepExit)})
	if err != nil {
		return err
	}
	return waitForState(pid, 'Z')
}

// buildContainer is process 1 of its own, and maps a file of a file system that only it sees.
func buildContainer(b *builder) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll("/inside", 0o755), unix.Mount("inside", "/inside", "tmpfs", 0, "")); err != nil {
		return err
	}
	r, err := b.file("only here", "/inside", regionPages*pageSize, readWrite, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.write(0, 16)
	return nil
}

// buildSharer maps the same memory in three ways, each process elsewhere and touching other pages: a memfd, a file of
// tmpfs, and System V shared memory. The third maps the memfd privately.
func buildSharer(b *builder, which int) error {
	// Another address in each process, with other indexes at every level.
	at := func(slot int) uintptr {
		return regionBase + uintptr(slot)*regionStep + uintptr(which)*(5<<39+3*regionStep+7*hugeSize+9*pageSize)
	}
	sharing := unix.MAP_SHARED
	if which == 2 {
		sharing = unix.MAP_PRIVATE
	}
	// The second begins eight pages into the memfd.
	offset := 0
	if which == 1 {
		offset = 8 * pageSize
	}
	memory, err := mapAt("memfd", at(0), regionPages*pageSize-offset, readWrite, sharing, memoryFD, int64(offset))
	if err != nil {
		return err
	}
	memory.read(0, 48)
	memory.write(4*which, 4*which+8)

	file, err := os.OpenFile("/shm/segment", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := file.Truncate(regionPages * pageSize); err != nil {
		return err
	}
	segment, err := mapAt("segment", at(1), regionPages*pageSize, readWrite, unix.MAP_SHARED, int(file.Fd()), 0)
	if err != nil {
		return err
	}
	file.Close()
	segment.write(16*which, 16*which+24)
	return attachShared(at(2), which)
}

// attachShared maps a segment of System V shared memory, read-only in the third process.
func attachShared(addr uintptr, which int) error {
	const key, readOnly = 0x70746d75, 0o10000
	id, err := unix.SysvShmGet(key, regionPages*pageSize, unix.IPC_CREAT|0o600)
	if err != nil {
		return err
	}
	flag := 0
	if which == 2 {
		flag = readOnly
	}
	mem, err := unix.SysvShmAttach(id, addr, flag)
	if err != nil {
		return err
	}
	r := &region{name: "sysv", addr: addr, mem: mem}
	if which == 2 {
		r.read(0, r.pages())
		return nil
	}
	r.write(32*which, 32*which+40-8*which)
	return nil
}

// buildPMDShare maps a gigabyte of the same hugetlb file, which lets the kernel use one table of huge pages for both processes.
func buildPMDShare(b *builder) error {
	if err := os.MkdirAll("/huge", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("hugetlbfs", "/huge", "hugetlbfs", 0, "pagesize=2M"); err != nil && !errors.Is(err, unix.EBUSY) {
		return err
	}
	file, err := os.OpenFile("/huge/shared", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(regionStep); err != nil {
		return err
	}
	r, err := b.add("pmd_shared", regionStep, readWrite, unix.MAP_SHARED|unix.MAP_NORESERVE, int(file.Fd()), 0)
	if err != nil {
		return err
	}
	const perHuge = hugeSize / pageSize
	r.write(0, 1)
	r.write(7*perHuge, 7*perHuge+1)
	return nil
}
