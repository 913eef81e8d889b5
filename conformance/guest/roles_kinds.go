//go:build linux && amd64

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// kindSteps are areas with flags of their own. Not every kernel has every kind.
var kindSteps = []step{
	{"named", buildNamed},
	{"heap", buildHeap},
	{"advised", buildAdvised},
	{"locked", buildLocked},
	{"grows_down", func(b *builder) error { return b.anonKind("grows_down", unix.MAP_PRIVATE|unix.MAP_GROWSDOWN) }},
	{"no_reserve", func(b *builder) error { return b.anonKind("no_reserve", unix.MAP_PRIVATE|unix.MAP_NORESERVE) }},
	{"droppable", func(b *builder) error { return b.anonKind("droppable", mapDroppable) }},
	{"sealed", buildSealed},
	{"secret", buildSecret},
	{"no_rights", func(b *builder) error { return b.writtenThen("no_rights", unix.PROT_NONE) }},
	{"pkey", buildPkey},
	{"thp", func(b *builder) error { _, err := b.hugeWritten("thp", 2); return err }},
	{"guard", buildGuard},
	{"swapped", buildSwapped},
	{"swapped_shmem", buildSwappedShmem},
	{"may_not_write", buildMayNotWrite},
	{"uffd", buildUffdMissing},
	{"ldt", func(*builder) error { return makeLDT() }},
	{"mlockall", func(*builder) error { return unix.Mlockall(unix.MCL_FUTURE | mclOnFault) }},
	{"after_mlockall", func(b *builder) error { return b.partlyWritten("after_mlockall", readWrite) }},
}

const (
	mapDroppable = 8 // MAP_DROPPABLE, from 6.11
	mclOnFault   = 4 // MCL_ONFAULT
	sysMseal     = 462
)

func buildKinds(b *builder) error {
	b.perform(kindSteps)
	return nil
}

func (b *builder) anonKind(name string, flags int) error {
	r, err := b.add(name, regionPages*pageSize, readWrite, flags|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return err
	}
	r.write(0, 16)
	return nil
}

// buildNamed names two halves of anonymous memory, and a part of shared memory.
func buildNamed(b *builder) error {
	r, err := b.written("named")
	if err != nil {
		return err
	}
	half := len(r.mem) / 2
	if err := nameArea(r.mem[:half], "first half"); err != nil {
		return err
	}
	if err := nameArea(r.mem[half:], "2nd (half)"); err != nil {
		return err
	}
	shared, err := b.add("named_shared", regionPages*pageSize, readWrite, unix.MAP_SHARED|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return err
	}
	shared.write(0, 8)
	return nameArea(shared.mem, "shared one")
}

func nameArea(mem []byte, name string) error {
	const setVMA, setName = 0x53564d41, 0
	var raw [80]byte
	copy(raw[:], name)
	_, err := withPointer(&raw, 4, unix.SYS_PRCTL, setVMA, setName, addrOf(mem), uintptr(len(mem)))
	return err
}

// buildHeap moves the program break and writes to a part of what it gives.
func buildHeap(b *builder) error {
	was, _, _ := unix.RawSyscall(unix.SYS_BRK, 0, 0, 0)
	now, _, _ := unix.RawSyscall(unix.SYS_BRK, was+regionPages*pageSize, 0, 0)
	if now != was+regionPages*pageSize {
		return errShort
	}
	touchRaw((was+pageSize-1)&^(pageSize-1), 16*pageSize, true)
	return nil
}

// buildAdvised gives each eighth of a region another advice that leaves a flag behind.
func buildAdvised(b *builder) error {
	r, err := b.written("advised")
	if err != nil {
		return err
	}
	for i, advice := range []int{unix.MADV_SEQUENTIAL, unix.MADV_RANDOM, unix.MADV_DONTDUMP, unix.MADV_DONTFORK,
		unix.MADV_WIPEONFORK, unix.MADV_HUGEPAGE, unix.MADV_MERGEABLE} {
		if err := r.advise(8*i, 8*i+8, advice); err != nil {
			fmt.Fprintln(b.notes, "NOTE advised", advice, err)
		}
	}
	return nil
}

// buildLocked locks a quarter at once and a quarter as it is touched.
func buildLocked(b *builder) error {
	r, err := b.anon("locked")
	if err != nil {
		return err
	}
	const onFault = 1
	if err := unix.Mlock(r.slice(0, 16)); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_MLOCK2, r.addr+32*pageSize, 16*pageSize, onFault); errno != 0 {
		return errno
	}
	r.write(32, 40)
	return nil
}

func buildSealed(b *builder) error {
	r, err := b.written("sealed")
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(sysMseal, r.addr, uintptr(len(r.mem)/2), 0); errno != 0 {
		return errno
	}
	return nil
}

// buildSecret maps memory that the kernel takes out of its own direct map.
func buildSecret(b *builder) error {
	fd, err := unix.MemfdSecret(0)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, 8*pageSize); err != nil {
		return err
	}
	r, err := b.add("secret", 8*pageSize, readWrite, unix.MAP_SHARED, fd, 0)
	if err != nil {
		return err
	}
	r.write(0, 4)
	return nil
}

// buildSwappedShmem has shared memory on a swap device: its entries are empty, only the file knows.
func buildSwappedShmem(b *builder) error {
	r, err := b.file("swapped_shmem", "/shm", regionPages*pageSize, readWrite, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.write(0, 48)
	return r.pageOut(0, 32)
}

// buildMayNotWrite maps a file shared through a descriptor that cannot write: VM_MAYWRITE is off.
func buildMayNotWrite(b *builder) error {
	path := filepath.Join("/shm", "read only")
	if err := os.WriteFile(path, make([]byte, regionPages*pageSize), 0o600); err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := b.add("may_not_write", regionPages*pageSize, unix.PROT_READ, unix.MAP_SHARED, int(file.Fd()), 0)
	if err != nil {
		return err
	}
	r.read(0, 16)
	if r.protect(0, 16, readWrite) == nil {
		return errors.New("could be made writable")
	}
	return nil
}

func buildUffdMissing(b *builder) error {
	r, err := b.partly("uffd_missing")
	if err != nil {
		return err
	}
	_, err = b.register(r, 0, 32, uffdModeMissing, 0)
	return err
}

// partly adds a region with its first quarter written.
func (b *builder) partly(name string) (*region, error) {
	r, err := b.anon(name)
	if err != nil {
		return nil, err
	}
	r.write(0, 16)
	return r, nil
}

// makeLDT gives the process a local descriptor table, which the kernel maps for it.
func makeLDT() error {
	const writeEntry = 0x11
	entry := struct{ number, base, limit, flags uint32 }{0, 0, 0xfffff, 0x51}
	_, err := withPointer(&entry, 1, unix.SYS_MODIFY_LDT, writeEntry, 0, 16)
	return err
}
