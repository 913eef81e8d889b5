package mm

import (
	"slices"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Space is an address space: what a process, with all its threads, sees as memory.
//
// Linux: include/linux/mm_types.h:struct mm_struct
type Space struct {
	m    *Machine
	id   int
	tree *pgtable.Tree
	vmas []*VMA // ascending
	mmap rwLock

	hasPinned bool // MMF_HAS_PINNED
	// untracked: clear_refs ran while pages were migrating. Of those that come back writable, the next write is not noticed.
	untracked bool
	exited    bool
	parent    *Space
	// pendingFlush counts flushes owed outside a gather, as clear_refs does it (inc_tlb_flush_pending).
	pendingFlush int
	// batched: reclaim has replaced entries, and not told the processors yet (tlb_flush_batched).
	batched bool
}

// ID returns the number of the space, ascending from 1.
func (s *Space) ID() int { return s.id }

// Tree returns the page tables. They are to be read; who writes them breaks what [Machine.Check] checks.
func (s *Space) Tree() *pgtable.Tree { return s.tree }

// Machine returns the machine that the space is part of.
func (s *Space) Machine() *Machine { return s.m }

// VMAs returns the areas, ascending.
func (s *Space) VMAs() []*VMA { return slices.Clone(s.vmas) }

// flushPending is mm_tlb_flush_pending().
func (s *Space) flushPending() bool { return s.pendingFlush > 0 || s.tree.FlushPending() }

// index returns the position of the first area that ends above va.
func (s *Space) indexOf(va x86.Virt) int {
	i, _ := slices.BinarySearchFunc(s.vmas, va, func(v *VMA, va x86.Virt) int {
		if v.End <= va {
			return -1
		}
		return 1
	})
	return i
}

// find returns the first area that ends above va, or nil. Linux: mm/mmap.c:find_vma()
func (s *Space) find(va x86.Virt) *VMA {
	if i := s.indexOf(va); i < len(s.vmas) {
		return s.vmas[i]
	}
	return nil
}

// VMA returns the area that holds va, or nil. Linux: include/linux/mm.h:vma_lookup()
func (s *Space) VMA(va x86.Virt) *VMA {
	if v := s.find(va); v != nil && v.Start <= va {
		return v
	}
	return nil
}

// prev and next return the neighbours of v in the list, or nil.
func (s *Space) prev(v *VMA) *VMA {
	if i := s.indexOf(v.Start); i > 0 {
		return s.vmas[i-1]
	}
	return nil
}

func (s *Space) next(v *VMA) *VMA {
	if i := s.indexOf(v.Start) + 1; i < len(s.vmas) {
		return s.vmas[i]
	}
	return nil
}

func (s *Space) insert(v *VMA) { s.vmas = slices.Insert(s.vmas, s.indexOf(v.Start), v) }

func (s *Space) remove(v *VMA) {
	i := s.indexOf(v.Start)
	s.vmas = slices.Delete(s.vmas, i, i+1)
}

// eachVMA calls f for the areas that lie in r, at least in part, with the part, until it fails.
func (s *Space) eachVMA(r pgtable.Range, f func(v *VMA, part pgtable.Range) error) error {
	for va := r.First; ; {
		v := s.find(va)
		if v == nil || v.Start > r.Last {
			return nil
		}
		part := pgtable.Range{First: max(va, v.Start), Last: min(r.Last, v.End-1)}
		if err := f(v, part); err != nil {
			return err
		}
		if part.Last == r.Last {
			return nil
		}
		va = part.Last + 1
	}
}

// checkPages checks the arguments of a system call: va is a page's first address, and length in bytes, rounded up to
// pages, stays in the lower half and is not 0.
func (s *Space) checkPages(call string, va x86.Virt, length uint64) (pgtable.Range, error) {
	n := (length + x86.PageSize - 1) / x86.PageSize
	limit := uint64(s.tree.Limit()) - x86.PageSize
	if va%x86.PageSize != 0 || n == 0 || uint64(va) >= limit || n > (limit-uint64(va))/x86.PageSize {
		return pgtable.Range{}, &CallError{call, va, ErrInval}
	}
	return span(va, n), nil
}
