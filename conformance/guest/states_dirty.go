//go:build linux && amd64

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// dirtySteps come last, because clearing the soft-dirty state clears it everywhere.
var dirtySteps = []step{
	{"softdirty", func(b *builder) error { _, err := b.written("softdirty"); return err }},
	{"thp_softdirty", func(b *builder) error { _, err := b.hugeWritten("thp_softdirty", 3); return err }},
	{"clear_refs", func(*builder) error { return os.WriteFile("/proc/self/clear_refs", []byte("4"), 0) }},
	{"softdirty", dirtySmall},
	{"thp_softdirty", dirtyHuge},
	{"late_vma", buildLate},
}

// dirtySmall makes parts of other regions dirty and writable again. Then it writes pages
// 0..15 of its own and swaps out 8..23: clean and dirty, present and swapped.
func dirtySmall(b *builder) error {
	for _, name := range []string{"anon_rw", "anon_rwx", "thp_rw", "file_shared", "cold", "uffd_poison", "hugetlb"} {
		if r := b.find(name); r != nil {
			r.write(8, 16)
		}
	}
	r := b.find("softdirty")
	if r == nil {
		return errShort
	}
	r.write(0, 16)
	return r.pageOut(8, 24)
}

// dirtyHuge leaves the first huge page clean, dirties the second, and breaks the clean
// mapping of the third into small entries.
func dirtyHuge(b *builder) error {
	const perHuge = hugeSize / pageSize
	r := b.find("thp_softdirty")
	if r == nil {
		return errShort
	}
	r.write(perHuge, perHuge+1)
	return r.protect(2*perHuge+8, 2*perHuge+16, unix.PROT_READ)
}

// buildLate is mapped after the clearing: its words are soft-dirty for the mapping's
// sake, whatever the entries say.
func buildLate(b *builder) error {
	r, err := b.anon("late_vma")
	if err != nil {
		return err
	}
	r.write(0, 16)
	r.read(16, 32)
	return nil
}
