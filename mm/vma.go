package mm

import (
	"ptemu/arch/x86"
	"ptemu/thp"
)

// VMA is an area of an address space: addresses with one protection and one backing.
//
// Linux: include/linux/mm_types.h:struct vm_area_struct
type VMA struct {
	space      *Space
	Start, End x86.Virt // End is the first address behind
	flags      VMFlags
	prot       x86.Prot // vm_page_prot
	pgoff      uint64   // offset in file, in pages; of an anonymous area, where it was mapped first
	file       *File    // nil: anonymous
	anon       *anonVMA // nil before the first anonymous page
	chained    bool     // the space was forked from one whose pages may be mapped here
	uffd       *Uffd
}

// Flags returns the flags.
func (v *VMA) Flags() VMFlags { return v.flags }

// PageProt returns vm_page_prot, the default protection of entries.
func (v *VMA) PageProt() x86.Prot { return v.prot }

// File returns what is mapped, nil for private anonymous memory.
func (v *VMA) File() *File { return v.file }

// Space returns the address space of the area.
func (v *VMA) Space() *Space { return v.space }

// Anonymous is vma_is_anonymous().
func (v *VMA) Anonymous() bool { return v.file == nil }

func (v *VMA) shared() bool   { return v.flags&x86.VMShared != 0 }
func (v *VMA) writable() bool { return v.flags&x86.VMWrite != 0 }

// cow is is_cow_mapping().
func (v *VMA) cow() bool { return v.flags&(x86.VMShared|VMMayWrite) == VMMayWrite }

func (v *VMA) pages() uint64 { return uint64(v.End-v.Start) / x86.PageSize }

// index returns the page offset of va in the mapping. Linux: include/linux/pagemap.h:linear_page_index()
func (v *VMA) index(va x86.Virt) uint64 { return v.pgoff + uint64(va-v.Start)/x86.PageSize }

// area returns what package thp must know of the area.
func (v *VMA) area() *thp.Area {
	m := v.space.m
	return &thp.Area{
		Layout: m.layout, Prot: v.prot, Anon: v.Anonymous(), Write: v.writable(), Zero: m.zero, HugeZero: m.huge, Flusher: m,
	}
}

// setPageProt works vm_page_prot out anew. Linux: mm/mmap.c:vma_set_page_prot()
func (v *VMA) setPageProt() {
	abi := v.space.m.abi
	p := v.prot.Modify(abi, v.flags.PageProt(abi))
	if v.wantsWritenotify(p) {
		p = p.Modify(abi, (v.flags &^ x86.VMShared).PageProt(abi))
	}
	v.prot = p
}

// wantsWritenotify reports that the first write to a page of the area, if its protection were p, must be noticed by a
// fault.
//
// Linux: mm/vma.c:vma_wants_writenotify()
func (v *VMA) wantsWritenotify(p x86.Prot) bool {
	abi := v.space.m.abi
	switch {
	case v.flags&(x86.VMWrite|x86.VMShared) != x86.VMWrite|x86.VMShared:
		return false
	case v.file != nil && v.file.mkWrite:
		return true
	case p != p.Modify(abi, v.flags.PageProt(abi)):
		return false
	case v.softDirtyTracked():
		return true
	case v.flags&VMUffdWP != 0 && v.space.m.Policy.UffdWritenotify:
		return true
	case v.flags&VMPFNMap != 0:
		return false
	}
	return v.file != nil && v.file.writeback
}

// split cuts v at va: v keeps what is below, and the rest, a new area, is returned.
//
// Linux: mm/vma.c:__split_vma()
func (s *Space) split(v *VMA, va x86.Virt) *VMA {
	upper := *v
	upper.Start, upper.pgoff = va, v.index(va)
	v.splitHuge(va)
	v.End = va
	s.insert(&upper)
	return &upper
}

// isolate cuts v so that an area of its own covers first to end, and returns that.
func (s *Space) isolate(v *VMA, first, end x86.Virt) *VMA {
	if v.Start < first {
		v = s.split(v, first)
	}
	if end < v.End {
		s.split(v, end)
	}
	return v
}

// mergeable reports that b, which follows a, could be part of it. Linux: mm/vma.c:can_vma_merge_after()
func (a *VMA) mergeable(b *VMA) bool {
	return a.End == b.Start && (a.flags^b.flags)&^a.space.m.mergeIgnores() == 0 && a.file == b.file && a.uffd == b.uffd &&
		a.pgoff+a.pages() == b.pgoff && anonMergeable(a, b)
}

// takes reports that its neighbour b, which has changed, may become part of v as far as their anonVMAs are concerned: v
// must have had anonymous pages if b has.
//
// Linux: mm/vma.c:is_mergeable_anon_vma(), until 6.15
func (v *VMA) takes(b *VMA) bool {
	return v.anon != nil || b.anon == nil || !v.space.m.Policy.MergeWantsAnon
}

// mergeIgnores returns the flags in which areas may differ and be merged all the same.
func (m *Machine) mergeIgnores() VMFlags {
	if m.Policy.StickyFlags {
		return VMSoftDirty | VMMaybeGuard
	}
	return VMSoftDirty
}

// anonMergeable is is_mergeable_anon_vma().
func anonMergeable(a, b *VMA) bool {
	switch {
	case a.anon == b.anon:
		return true
	case a.anon == nil:
		return !b.chained
	case b.anon == nil:
		return !a.chained
	}
	return false
}

// mergeAround merges v, whose flags have just changed, with its neighbours where it can, and returns the area that v is
// part of then. That has the flags that v had, VM_SOFTDIRTY among them.
//
// Linux: mm/vma.c:vma_modify_flags(), and vm_flags_reset() after it
func (s *Space) mergeAround(v *VMA) *VMA {
	flags := v.flags
	v = s.mergeMoved(v)
	if !s.m.Policy.StickyFlags {
		v.flags = flags
	}
	return v
}

// mergeMoved is mergeAround for an area that comes with the flags that it has: what grows keeps its own.
//
// Linux: mm/vma.c:copy_vma()
func (s *Space) mergeMoved(v *VMA) *VMA {
	prev, next := s.prev(v), s.next(v)
	left := prev != nil && prev.mergeable(v) && prev.takes(v)
	right := next != nil && v.mergeable(next) && next.takes(v) && (!left || anonMergeable(prev, next))
	switch {
	case left && right:
		s.absorb(prev, v)
		return s.absorb(prev, next)
	case left:
		return s.absorb(prev, v)
	case right:
		flags, prot := next.flags, next.prot
		v = s.absorb(v, next)
		if !s.m.Policy.StickyFlags {
			v.flags, v.prot = flags, prot
		}
	}
	return v
}

// absorb makes b, which follows a, part of it.
func (s *Space) absorb(a, b *VMA) *VMA {
	s.remove(b)
	a.End = b.End
	if a.anon == nil {
		a.anon = b.anon
	}
	a.chained = a.chained || b.chained
	if sticky := s.m.mergeIgnores(); s.m.Policy.StickyFlags && (a.flags^b.flags)&sticky != 0 {
		a.flags |= b.flags & sticky
		a.setPageProt()
	}
	return a
}

// reusableAnon returns the anonVMA of a neighbour that v could be merged with but for its flags' access rights.
//
// Linux: mm/vma.c:find_mergeable_anon_vma()
func (v *VMA) reusableAnon() *anonVMA {
	const ignore = vmAccess | VMSoftDirty
	like := func(a, b, n *VMA) bool {
		return n.anon != nil && !n.chained && a.End == b.Start && a.file == b.file && (a.flags^b.flags)&^ignore == 0 &&
			a.pgoff+a.pages() == b.pgoff
	}
	if n := v.space.next(v); n != nil && like(v, n, n) {
		return n.anon
	}
	if n := v.space.prev(v); n != nil && like(n, v, n) {
		return n.anon
	}
	return nil
}
