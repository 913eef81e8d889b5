//go:build linux && amd64

package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hugeSteps build the regions whose leaves are, or were, two mebibytes.
var hugeSteps = []step{
	{"thp_rw", func(b *builder) error { _, err := b.hugeWritten("thp_rw", 2); return err }},
	{"thp_ro", func(b *builder) error { return b.hugeThen("thp_ro", 2, unix.PROT_READ) }},
	{"thp_none", func(b *builder) error { return b.hugeThen("thp_none", 1, unix.PROT_NONE) }},
	{"thp_split", buildTHPSplit},
	{"thp_uffd_wp", buildTHPUffd},
	{"thp_swapped", buildTHPSwapped},
	{"thp_split_empty", buildTHPSplitEmpty},
	{"huge_zero", buildHugeZero},
	{"hugetlb", buildHugetlb},
	{"hugetlb_uffd_wp", buildHugetlbUffd},
	{"hugetlb_hwpoison", buildHugetlbHwpoison},
}

func (b *builder) hugeWritten(name string, hugePages int) (*region, error) {
	r, err := b.huge(name, hugePages)
	if err != nil {
		return nil, err
	}
	for i := range hugePages {
		r.write(i*hugeSize/pageSize, i*hugeSize/pageSize+1)
	}
	return r, nil
}

func (b *builder) hugeThen(name string, hugePages, prot int) error {
	r, err := b.hugeWritten(name, hugePages)
	if err != nil {
		return err
	}
	return r.protect(0, r.pages(), prot)
}

// buildTHPSplit splits the first page's mapping by changing the rights of a part.
func buildTHPSplit(b *builder) error {
	r, err := b.hugeWritten("thp_split", 2)
	if err != nil {
		return err
	}
	return r.protect(100, 108, unix.PROT_READ)
}

// buildTHPUffd protects the first of two huge pages.
func buildTHPUffd(b *builder) error {
	r, err := b.hugeWritten("thp_uffd_wp", 2)
	if err != nil {
		return err
	}
	uffd, err := b.registerWP(r, 0)
	if err != nil {
		return err
	}
	return uffdProtect(uffd, r, 0, hugeSize/pageSize, true)
}

// buildTHPSwapped swaps out the first of two huge pages. Every page is written: a
// kernel that splits a huge page may map its empty parts to the zero page instead.
func buildTHPSwapped(b *builder) error {
	r, err := b.huge("thp_swapped", 2)
	if err != nil {
		return err
	}
	r.write(0, r.pages())
	return r.pageOut(0, hugeSize/pageSize)
}

// buildTHPSplitEmpty asks to swap out a huge page of which only the first page has data.
func buildTHPSplitEmpty(b *builder) error {
	r, err := b.hugeWritten("thp_split_empty", 1)
	if err != nil {
		return err
	}
	return r.advise(0, r.pages(), unix.MADV_PAGEOUT)
}

func buildHugeZero(b *builder) error {
	r, err := b.huge("huge_zero", 2)
	if err != nil {
		return err
	}
	r.read(0, 1)
	r.read(hugeSize/pageSize, hugeSize/pageSize+1)
	return nil
}

func (b *builder) hugetlb(name string, hugePages int) (*region, error) {
	return b.add(name, hugePages*hugeSize, readWrite, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_HUGETLB, -1, 0)
}

func buildHugetlb(b *builder) error {
	r, err := b.hugetlb("hugetlb", 1)
	if err != nil {
		return err
	}
	r.write(0, 1)
	return nil
}

// buildHugetlbUffd protects a present huge page and a hole beside it.
func buildHugetlbUffd(b *builder) error {
	r, err := b.hugetlb("hugetlb_uffd_wp", 2)
	if err != nil {
		return err
	}
	r.write(0, 1)
	uffd, err := b.registerWP(r, featureWPHugetlbShmem)
	if err != nil {
		return err
	}
	return uffdProtect(uffd, r, 0, r.pages(), true)
}

func buildHugetlbHwpoison(b *builder) error {
	r, err := b.hugetlb("hugetlb_hwpoison", 1)
	if err != nil {
		return err
	}
	r.write(0, 1)
	return r.poison(0)
}

// poison takes the frame of a page out of use, as after a memory error. It goes by
// the frame and not through MADV_HWPOISON, which would signal this process.
func (r *region) poison(page int) error {
	words, err := r.pagemap()
	if err != nil {
		return err
	}
	if words[page]&pagemapPresent == 0 {
		return fmt.Errorf("page %d is not present: %w", page, errShort)
	}
	frame := words[page] & pagemapFrameMask
	return os.WriteFile("/sys/devices/system/memory/hard_offline_page", fmt.Appendf(nil, "%#x", frame*pageSize), 0)
}
