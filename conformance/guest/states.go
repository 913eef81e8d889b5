//go:build linux && amd64

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// buildAll builds every region. Only what would make the rest meaningless is an error;
// a state that the kernel does not offer becomes a NOTE.
func (b *builder) buildAll() error {
	if err := b.buildShared(); err != nil {
		return err
	}
	b.perform([]step{
		{"anon_rw", func(b *builder) error { _, err := b.written("anon_rw"); return err }},
		{"anon_ro", func(b *builder) error { return b.writtenThen("anon_ro", unix.PROT_READ) }},
		{"anon_none", func(b *builder) error { return b.writtenThen("anon_none", unix.PROT_NONE) }},
		{"anon_zero", buildAnonZero},
		{"anon_untouched", func(b *builder) error { _, err := b.anon("anon_untouched"); return err }},
		{"anon_exec", func(b *builder) error { return b.partlyWritten("anon_exec", unix.PROT_READ|unix.PROT_EXEC) }},
		{"anon_rwx", func(b *builder) error { return b.partlyWritten("anon_rwx", readWrite|unix.PROT_EXEC) }},
		{"mlocked", buildMlocked},
		{"pkey", buildPkey},
		{"cold", func(b *builder) error { return b.writtenAdvised("cold", unix.MADV_COLD) }},
		{"lazyfree", func(b *builder) error { return b.writtenAdvised("lazyfree", unix.MADV_FREE) }},
		{"uffd_wp_anon", buildUffdAnon},
		{"uffd_wp_shmem", buildUffdShmem},
		{"uffd_wp_unpopulated", buildUffdUnpopulated},
		{"uffd_poison", buildUffdPoison},
		{"swapped", buildSwapped},
		{"swapped_uffd_wp", buildSwappedUffd},
	})
	b.perform(hugeSteps)
	b.perform(fileSteps)
	b.perform([]step{
		{"hwpoison", buildHwpoison},
		{"guard", buildGuard},
		{"mixed", buildMixed},
		{"high57", buildHigh57},
	})
	b.perform(dirtySteps)
	return nil
}

func (b *builder) writtenThen(name string, prot int) error {
	r, err := b.written(name)
	if err != nil {
		return err
	}
	return r.protect(0, r.pages(), prot)
}

// partlyWritten writes the first quarter and leaves holes behind it.
func (b *builder) partlyWritten(name string, prot int) error {
	r, err := b.anon(name)
	if err != nil {
		return err
	}
	r.write(0, 16)
	return r.protect(0, r.pages(), prot)
}

// writtenAdvised gives advice on the middle half, and writes a few of its pages again.
func (b *builder) writtenAdvised(name string, advice int) error {
	r, err := b.written(name)
	if err != nil {
		return err
	}
	if err := r.advise(16, 48, advice); err != nil {
		return err
	}
	r.write(40, 44)
	r.read(44, 48)
	return nil
}

func buildAnonZero(b *builder) error {
	r, err := b.anon("anon_zero")
	if err != nil {
		return err
	}
	r.read(0, r.pages())
	return nil
}

func buildMlocked(b *builder) error {
	r, err := b.anon("mlocked")
	if err != nil {
		return err
	}
	return unix.Mlock(r.mem)
}

// buildPkey puts half the pages under a protection key that forbids writing.
func buildPkey(b *builder) error {
	r, err := b.written("pkey")
	if err != nil {
		return err
	}
	const disableWrite = 2
	key, _, errno := unix.Syscall(unix.SYS_PKEY_ALLOC, 0, disableWrite, 0)
	if errno != 0 {
		return fmt.Errorf("pkey_alloc: %w", errno)
	}
	_, _, errno = unix.Syscall6(unix.SYS_PKEY_MPROTECT, r.addr, uintptr(len(r.mem)/2), readWrite, key, 0, 0)
	if errno != 0 {
		return fmt.Errorf("pkey_mprotect: %w", errno)
	}
	return nil
}

// buildUffdAnon protects pages 0..31 and resolves 0..7 again.
func buildUffdAnon(b *builder) error {
	r, err := b.written("uffd_wp_anon")
	if err != nil {
		return err
	}
	uffd, err := b.registerWP(r, 0)
	if err != nil {
		return err
	}
	if err := uffdProtect(uffd, r, 0, 32, true); err != nil {
		return err
	}
	return uffdProtect(uffd, r, 0, 8, false)
}

// buildUffdShmem protects 48 pages of which 16 exist: the holes get markers.
func buildUffdShmem(b *builder) error {
	r, err := b.file("uffd_wp_shmem", "/shm", regionPages*pageSize, readWrite, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.write(0, 12)
	r.write(60, 64)
	uffd, err := b.registerWP(r, featureWPHugetlbShmem)
	if err != nil {
		return err
	}
	return uffdProtect(uffd, r, 0, 48, true)
}

// buildUffdUnpopulated has markers in anonymous holes (from 6.4).
func buildUffdUnpopulated(b *builder) error {
	r, err := b.anon("uffd_wp_unpopulated")
	if err != nil {
		return err
	}
	r.write(0, 16)
	uffd, err := b.registerWP(r, featureWPUnpopulated)
	if err != nil {
		return err
	}
	return uffdProtect(uffd, r, 8, 48, true)
}

// buildUffdPoison has poison markers in holes (from 6.6).
func buildUffdPoison(b *builder) error {
	r, err := b.anon("uffd_poison")
	if err != nil {
		return err
	}
	r.write(0, 16)
	uffd, err := b.register(r, 0, r.pages(), uffdModeMissing|uffdModeWP, featureWP|featurePoison)
	if err != nil {
		return err
	}
	if err := uffdProtect(uffd, r, 0, 8, true); err != nil {
		return err
	}
	return uffdPoison(uffd, r, 32, 40)
}

func buildSwapped(b *builder) error {
	r, err := b.written("swapped")
	if err != nil {
		return err
	}
	return r.pageOut(0, 48)
}

// buildSwappedUffd swaps out 32 protected and 16 unprotected pages.
func buildSwappedUffd(b *builder) error {
	r, err := b.written("swapped_uffd_wp")
	if err != nil {
		return err
	}
	uffd, err := b.registerWP(r, 0)
	if err != nil {
		return err
	}
	if err := uffdProtect(uffd, r, 0, 32, true); err != nil {
		return err
	}
	return r.pageOut(0, 48)
}

// buildHwpoison poisons page 5.
func buildHwpoison(b *builder) error {
	r, err := b.written("hwpoison")
	if err != nil {
		return err
	}
	return r.poison(5)
}

func buildGuard(b *builder) error {
	r, err := b.written("guard")
	if err != nil {
		return err
	}
	return r.advise(8, 24, madvGuardInstall)
}

// madvGuardInstall is MADV_GUARD_INSTALL (from 6.13).
const madvGuardInstall = 102

// buildMixed puts every kind of entry into one page table.
func buildMixed(b *builder) error {
	r, err := b.anonSized("mixed", hugeSize, unix.MADV_NOHUGEPAGE)
	if err != nil {
		return err
	}
	r.write(0, 128)
	for i := 128; i < 192; i += 2 {
		r.write(i, i+1)
	}
	r.write(192, 448)
	r.read(448, 456)
	uffd, err := b.register(r, 304, 336, uffdModeWP, featureWP)
	if err == nil {
		err = uffdProtect(uffd, r, 304, 328, true)
	}
	if err != nil {
		return err
	}
	if err := r.pageOut(256, 312); err != nil {
		return err
	}
	if err := r.protect(192, 224, unix.PROT_READ); err != nil {
		return err
	}
	if err := r.protect(224, 264, unix.PROT_NONE); err != nil {
		return err
	}
	if err := r.protect(336, 344, unix.PROT_READ|unix.PROT_EXEC); err != nil {
		return err
	}
	if err := r.advise(344, 352, madvGuardInstall); err != nil {
		fmt.Fprintln(b.notes, "NOTE", r.name, "guard", err)
	}
	return r.poison(360)
}

// buildHigh57 maps above the reach of four levels.
func buildHigh57(b *builder) error {
	const addr = 0x00c0_1234_4000_0000
	r, err := mapAt("high57", addr, regionPages*pageSize, readWrite, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return err
	}
	b.regions = append(b.regions, r)
	r.write(0, 32)
	return r.protect(16, 24, unix.PROT_READ)
}
