package mm

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// Mapping that mmap is asked for.
type MmapArgs struct {
	Addr   x86.Virt // with MapFixed; else a hint that is taken if nothing is there
	Length uint64   // in bytes, rounded up to pages
	Prot   Prot
	Flags  MapFlags
	File   *File  // nil: anonymous
	Offset uint64 // in the file, in bytes, of a page
	Pkey   int    // protection key, 0 to 15
}

// mmapTop is below which mmap looks for room, downwards.
const mmapTop = x86.Virt(0x7f0000000000)

// Mmap maps memory in the space that the CPU runs, and returns its address.
//
// Linux: mm/mmap.c:do_mmap(), mm/vma.c:mmap_region()
func (c *CPU) Mmap(a MmapArgs) (x86.Virt, error) {
	s := c.space
	s.writeLock()
	v, err := s.mapArea(c, a)
	s.writeUnlock()
	if err != nil {
		return 0, err
	}
	if a.Flags&(MapPopulate|MapLocked) != 0 {
		// Failures do not fail the call, as in Linux.
		_ = c.populate(pgtable.Range{First: v, Last: v + x86.Virt(roundUp(a.Length)) - 1})
	}
	return v, nil
}

func roundUp(n uint64) uint64 { return (n + x86.PageSize - 1) &^ (x86.PageSize - 1) }

func (s *Space) mapArea(c *CPU, a MmapArgs) (x86.Virt, error) {
	if a.Length == 0 || a.Offset%x86.PageSize != 0 || a.Pkey < 0 || a.Pkey > 15 || a.Length > uint64(mmapTop) {
		return 0, &CallError{"mmap", a.Addr, ErrInval}
	}
	va, err := s.place(a)
	if err != nil {
		return 0, err
	}
	r, err := s.checkPages("mmap", va, a.Length)
	if err != nil {
		return 0, &CallError{"mmap", va, ErrNoMem}
	}
	if err := s.unmapRange(c, r); err != nil {
		return 0, err
	}
	v := &VMA{space: s, Start: r.First, End: r.Last + 1, file: a.File, flags: a.vmFlags(), pgoff: uint64(r.First) / x86.PageSize}
	switch {
	case a.File != nil:
		v.pgoff = a.Offset / x86.PageSize
	case a.Flags&MapShared != 0:
		v.file, v.pgoff = s.m.newShmem("zero", a.Length), 0
	}
	if a.File != nil && a.Flags&MapShared == 0 {
		v.flags &^= VMMayShare
	}
	v.prot = v.flags.PageProt(s.m.abi)
	s.insert(v)
	// A mapping that grows another makes that one soft-dirty as a whole.
	v = s.mergeAround(v)
	v.flags |= VMSoftDirty
	v.setPageProt()
	return va, nil
}

// vmFlags are the flags of the new area, VM_SOFTDIRTY not yet among them.
func (a *MmapArgs) vmFlags() VMFlags {
	f := a.Prot.vmFlags() | vmMay | x86.PagePkey(a.Pkey)
	if a.Flags&MapShared != 0 {
		f |= x86.VMShared | VMMayShare
	}
	if a.Flags&MapNoReserve != 0 {
		f |= VMNoReserve
	}
	if accountable(f) {
		f |= VMAccount
	}
	if a.Flags&MapLocked != 0 {
		f |= VMLocked
	}
	return f
}

// accountable reports that memory is set aside for a new area. Linux: mm/vma.c:accountable_mapping()
func accountable(f VMFlags) bool { return f&(x86.VMWrite|x86.VMShared|VMNoReserve) == x86.VMWrite }

// place finds the address.
func (s *Space) place(a MmapArgs) (x86.Virt, error) {
	n := x86.Virt(roundUp(a.Length))
	if a.Addr%x86.PageSize != 0 {
		if a.Flags&(MapFixed|MapFixedNoReplace) != 0 {
			return 0, &CallError{"mmap", a.Addr, ErrInval}
		}
		a.Addr = pageOf(a.Addr)
	}
	free := func(va x86.Virt) bool {
		v := s.find(va)
		return v == nil || v.Start >= va+n
	}
	switch {
	case a.Flags&MapFixedNoReplace != 0:
		if !free(a.Addr) {
			return 0, &CallError{"mmap", a.Addr, ErrExist}
		}
		return a.Addr, nil
	case a.Flags&MapFixed != 0, a.Addr != 0 && free(a.Addr):
		return a.Addr, nil
	}
	for end, i := mmapTop, len(s.vmas)-1; ; i-- {
		for ; i >= 0 && s.vmas[i].Start >= end; i-- {
		}
		low := x86.Virt(x86.PageSize)
		if i >= 0 {
			low = s.vmas[i].End
		}
		if end >= low && end-low >= n {
			return end - n, nil
		}
		if i < 0 {
			return 0, &CallError{"mmap", a.Addr, ErrNoMem}
		}
		end = s.vmas[i].Start
	}
}

// Munmap unmaps length bytes from va on.
//
// Linux: mm/vma.c:do_vmi_munmap()
func (c *CPU) Munmap(va x86.Virt, length uint64) error {
	r, err := c.space.checkPages("munmap", va, length)
	if err != nil {
		return err
	}
	c.space.writeLock()
	defer c.space.writeUnlock()
	return c.space.unmapRange(c, r)
}

// unmapRange removes the areas of r, and what they map. The mmap lock is held for writing.
func (s *Space) unmapRange(c *CPU, r pgtable.Range) error {
	var gone []*VMA
	err := s.eachVMA(r, func(v *VMA, part pgtable.Range) error {
		gone = append(gone, s.isolate(v, part.First, part.Last+1))
		return nil
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	g := c.gather(s)
	defer g.finish()
	for _, v := range gone {
		if err := s.zap(g, v, v.whole(), zapDropMarkers); err != nil {
			return err
		}
		v.dropUffd()
	}
	floor, ceiling := x86.Virt(0), x86.Virt(0)
	if p := s.prev(gone[0]); p != nil {
		floor = p.End
	}
	if n := s.next(gone[len(gone)-1]); n != nil {
		ceiling = n.Start
	}
	for _, v := range gone {
		s.remove(v)
	}
	s.m.releaseFiles()
	all := pgtable.Range{First: gone[0].Start, Last: gone[len(gone)-1].End - 1}
	return s.tree.FreeTables(&g.Gather, all, floor, ceiling)
}

// whole returns all addresses of the area.
func (v *VMA) whole() pgtable.Range { return pgtable.Range{First: v.Start, Last: v.End - 1} }

// populate faults the pages of r in, as far as they can be. Linux: mm/gup.c:__mm_populate()
func (c *CPU) populate(r pgtable.Range) error {
	for va := r.First; ; va += x86.PageSize {
		v := c.space.VMA(va)
		if v == nil {
			return &CallError{"populate", va, ErrNoMem}
		}
		f := faultFlags(0)
		if v.flags&(x86.VMWrite|x86.VMShared) == x86.VMWrite {
			f = faultWrite
		}
		if err := c.fault(va, f|faultRemote); err != nil {
			return err
		}
		if va+x86.PageSize > r.Last {
			return nil
		}
	}
}

// noMemory reports whether err says that memory ran out.
func noMemory(err error) bool { return errors.Is(err, physmem.ErrNoMemory) || errors.Is(err, ErrNoMem) }
