package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// RemapFlags are the flags of mremap.
//
// Linux: include/uapi/linux/mman.h:MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP
type RemapFlags uint8

// The flags of mremap.
const (
	RemapMayMove RemapFlags = 1 << iota
	RemapFixed
	RemapDontUnmap
)

// Mremap moves or resizes a mapping, and returns where it is then. With RemapFixed it goes to to.
//
// Linux: mm/mremap.c:do_mremap()
func (c *CPU) Mremap(va x86.Virt, oldLength, newLength uint64, flags RemapFlags, to x86.Virt) (x86.Virt, error) {
	s := c.space
	bad := &CallError{"mremap", va, ErrInval}
	oldLength, newLength = roundUp(oldLength), roundUp(newLength)
	switch {
	case va%x86.PageSize != 0, newLength == 0, oldLength == 0:
		return 0, bad
	case flags&(RemapFixed|RemapDontUnmap) != 0 && flags&RemapMayMove == 0:
		return 0, bad
	case flags&RemapDontUnmap != 0 && oldLength != newLength:
		return 0, bad
	}
	r, err := s.checkPages("mremap", va, oldLength)
	if err != nil {
		return 0, err
	}
	s.writeLock()
	defer s.writeUnlock()
	v := s.VMA(va)
	many := s.m.Policy.RemapMany && flags&RemapFixed != 0
	switch {
	case v == nil || newLength > oldLength && r.Last >= v.End:
		return 0, &CallError{"mremap", va, ErrFault}
	case many && newLength == oldLength:
		return s.remapMany(c, r, flags, to)
	case many && r.First+x86.Virt(min(oldLength, newLength))-1 >= v.End:
		return 0, &CallError{"mremap", va, ErrFault}
	case flags&RemapFixed != 0:
		return s.remapTo(c, v, r, newLength, flags, to)
	}
	if flags&RemapDontUnmap == 0 {
		if done, err := s.resize(c, v, r, newLength); done || err != nil {
			return va, err
		}
		if flags&RemapMayMove == 0 {
			return 0, &CallError{"mremap", va, ErrNoMem}
		}
	}
	to, err = s.place(MmapArgs{Length: newLength})
	if err != nil {
		return 0, err
	}
	return s.moveArea(c, v, r, newLength, flags, to)
}

// remapMany moves all areas of r, one after the other, with the holes between them (6.17 on). Those under userfaultfd move
// only alone: what was moved before stays moved.
//
// Linux: mm/mremap.c:remap_move()
func (s *Space) remapMany(c *CPU, r pgtable.Range, flags RemapFlags, to x86.Virt) (x86.Virt, error) {
	length := uint64(r.Last-r.First) + 1
	dst, err := s.checkPages("mremap", to, length)
	if err != nil || dst.First <= r.Last && r.First <= dst.Last {
		return 0, &CallError{"mremap", to, ErrInval}
	}
	for va := r.First; va <= r.Last; {
		v := s.find(va)
		if v == nil || v.Start > r.Last {
			break
		}
		part := pgtable.Range{First: max(va, v.Start), Last: min(r.Last, v.End-1)}
		if v.uffd != nil && (part.First > r.First || part.Last < r.Last) {
			return 0, &CallError{"mremap", part.First, ErrFault}
		}
		if _, err := s.remapTo(c, v, part, uint64(part.Last-part.First)+1, flags, to+part.First-r.First); err != nil {
			return 0, err
		}
		va = part.Last + 1
	}
	return to, nil
}

// remapTo clears the place and moves the area there. Linux: mm/mremap.c:mremap_to()
func (s *Space) remapTo(c *CPU, v *VMA, r pgtable.Range, n uint64, flags RemapFlags, to x86.Virt) (x86.Virt, error) {
	dst, err := s.checkPages("mremap", to, n)
	if err != nil || dst.First <= r.Last && r.First <= dst.Last {
		return 0, &CallError{"mremap", to, ErrInval}
	}
	if err := s.unmapRange(c, dst); err != nil {
		return 0, err
	}
	if old := uint64(r.Last-r.First) + 1; old > n {
		if err := s.unmapRange(c, pgtable.Range{First: r.First + x86.Virt(n), Last: r.Last}); err != nil {
			return 0, err
		}
		r.Last = r.First + x86.Virt(n) - 1
	}
	if v = s.VMA(r.First); v == nil || r.Last >= v.End {
		return 0, &CallError{"mremap", r.First, ErrFault}
	}
	return s.moveArea(c, s.VMA(r.First), r, n, flags, to)
}

// resize shrinks, or grows where it stands, and reports whether that was possible.
func (s *Space) resize(c *CPU, v *VMA, r pgtable.Range, n uint64) (bool, error) {
	old := uint64(r.Last-r.First) + 1
	if n <= old {
		if n == old {
			return true, nil
		}
		return true, s.unmapRange(c, pgtable.Range{First: r.First + x86.Virt(n), Last: r.Last})
	}
	end := r.First + x86.Virt(n)
	if r.Last+1 != v.End || end >= s.tree.Limit() {
		return false, nil
	}
	if next := s.next(v); next != nil && next.Start < end {
		return false, nil
	}
	v.End = end
	s.mergeAround(v)
	if v.flags&VMLocked != 0 {
		c.populateLocked(pgtable.Range{First: r.Last + 1, Last: end - 1})
	}
	return true, nil
}

// moveArea moves r, part of v, to to, where nothing is, and makes it n bytes long.
//
// Linux: mm/mremap.c:move_vma()
func (s *Space) moveArea(c *CPU, v *VMA, r pgtable.Range, n uint64, flags RemapFlags, to x86.Virt) (x86.Virt, error) {
	if v.flags&VMMergeable != 0 { // KSM finds its pages by their addresses
		if err := s.unmerge(c, v, r); err != nil {
			return 0, err
		}
	}
	nv := *v
	nv.Start, nv.End, nv.pgoff = to, to+x86.Virt(n), v.index(r.First)
	if v.Anonymous() && v.anon == nil {
		nv.pgoff = uint64(to) / x86.PageSize
	}
	clearUffd := v.uffd != nil && !v.uffd.remapEvents()
	if clearUffd {
		nv.uffd = nil
		nv.flags &^= vmUffd
		nv.setPageProt()
	}
	s.insert(&nv)
	g := c.gather(s)
	o := s.mover(g, v, clearUffd)
	s.flushBatched()
	err := s.tree.Move(&g.Gather, r, to, o)
	g.finish()
	if err != nil {
		return 0, &CallError{"mremap", r.First, ErrNoMem}
	}
	v = s.VMA(r.First)
	if flags&RemapDontUnmap != 0 {
		s.leftBehind(v, r)
	} else if err := s.unmapRange(c, r); err != nil {
		return 0, err
	}
	s.mergeMoved(s.VMA(to))
	return to, nil
}

// leftBehind is what becomes of v, whose pages in r have moved, and which stays.
//
// Linux: mm/mremap.c:dontunmap_complete(), before 6.17 the end of move_vma()
func (s *Space) leftBehind(v *VMA, r pgtable.Range) {
	if v.flags&VMLocked != 0 {
		v = s.isolate(v, r.First, r.Last+1)
		v.flags &^= VMLocked
	}
	if v.Start != r.First || v.End != r.Last+1 {
		return
	}
	v.anon, v.chained = nil, false
	if v.Anonymous() && s.m.Policy.DontUnmapResets {
		v.pgoff = uint64(v.Start) / x86.PageSize
	}
}

// mover says how the entries of v move.
func (s *Space) mover(g *gather, v *VMA, clearUffd bool) *pgtable.Move {
	l := s.m.layout
	return &pgtable.Move{
		ClearUffd: clearUffd, Whole: !clearUffd,
		DropMarker: func(e x86.PTE) bool {
			d := l.Decode(x86.LevelPTE, uint64(e))
			return d.Kind == swapentry.KindMarker && d.Marker == swapentry.MarkerUffdWP
		},
		Huge: func(slot pgtable.PMDSlot, to x86.Virt) (split bool, err error) {
			if !slot.Whole() || to%x86.Virt(x86.LevelPMD.Size()) != 0 {
				return true, s.splitPMD(g, v, slot.First)
			}
			_, err = v.huge().Move(&g.Gather, slot.First, to, clearUffd)
			return false, err
		},
	}
}
