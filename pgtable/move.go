package pgtable

import "ptemu/arch/x86"

// Move says how mremap moves the entries of an area.
type Move struct {
	// ClearUffd: the area is registered for userfaultfd without remap events, so write protection ends.
	ClearUffd bool
	// DropMarker reports an entry that is nothing but a marker of that protection; with ClearUffd it is dropped.
	DropMarker func(e x86.PTE) bool
	// Whole: PTE tables that are covered, and whose new place is aligned like the old one and empty, are moved as they
	// are, and their entries do not become soft-dirty. All kernels do so in areas without userfaultfd.
	Whole bool
	// Huge moves leaves above the PTEs.
	Huge func(s PMDSlot, to x86.Virt) (split bool, err error)
}

// Move moves the entries of r to the addresses from to on, where they must be none, and owes the flush of pages to
// g. The ranges may not overlap. Every entry becomes soft-dirty, except as o.Whole says. Tables that are left empty stay.
//
// Linux: mm/mremap.c:move_page_tables(), move_ptes()
func (t *Tree) Move(g *Gather, r Range, to x86.Virt, o *Move) error {
	if err := t.checkRange(r); err != nil {
		return err
	}
	dst := Range{to, to + (r.Last - r.First)}
	if err := t.checkRange(dst); err != nil || dst.First <= r.Last && r.First <= dst.Last {
		return &AddrError{to, ErrRange}
	}
	shift := to - r.First
	return t.EachPMD(r, false, func(s PMDSlot) error {
		if s.Level != x86.LevelPMD {
			return t.moveTable(g, &s, s.First+shift, o)
		}
		for s.First <= s.Last {
			part := s
			table := (s.First + shift) | x86.Virt(x86.LevelPTE.Span()-1)
			part.Last = min(s.Last, table-shift) // the end of a table there or here
			if err := t.moveTable(g, &part, part.First+shift, o); err != nil {
				return err
			}
			s.First = part.Last + 1
		}
		return nil
	})
}

// moveTable moves the part s of one table to one other.
func (t *Tree) moveTable(g *Gather, s *PMDSlot, to x86.Virt, o *Move) error {
	for {
		s.Reload()
		if s.HasTable() {
			break
		}
		if !usedEntry(uint64(s.Entry)) {
			return nil
		}
		if o.Huge == nil {
			return &AddrError{s.First, ErrHuge}
		}
		if split, err := o.Huge(*s, to); err != nil || !split {
			return err
		}
	}
	if moved, err := t.moveWhole(g, s, to, o); moved || err != nil {
		return err
	}
	if _, err := t.make(to, x86.LevelPTE); err != nil {
		return err
	}
	c, d, err := t.lockTwo(s.First, to)
	if err != nil {
		return &AddrError{to, err}
	}
	defer c.Unlock()
	if c.s != d.s {
		defer d.Unlock()
	}
	first, last := s.Slots()
	j := to.Index(x86.LevelPTE)
	var pages Bitmap
	for i := first; i <= last; i, j = i+1, j+1 {
		if !usedEntry(c.tab[i]) {
			continue
		}
		if usedEntry(d.tab[j]) {
			return &AddrError{d.Addr(j), ErrUsed}
		}
		e := c.GetAndClear(i)
		if e.Present() {
			pages.Set(i)
		}
		d.Set(j, o.entry(e))
	}
	if a, b := enclose(&pages); a <= b {
		g.PTEs(c, a, b)
	}
	return nil
}

// lockTwo locks the PTE tables for two addresses, always in the same order. They may be the same table.
func (t *Tree) lockTwo(a, b x86.Virt) (ca, cb PTECursor, err error) {
	if (a^b)>>x86.LevelPMD.Shift() == 0 {
		ca, err = t.LockPTEs(a, false)
		return ca, ca, err
	}
	if a > b {
		cb, ca, err = t.lockTwo(b, a)
		return ca, cb, err
	}
	if ca, err = t.LockPTEs(a, false); err != nil {
		return ca, cb, err
	}
	if cb, err = t.LockPTEs(b, false); err != nil {
		ca.Unlock()
	}
	return ca, cb, err
}

func (o *Move) entry(e x86.PTE) x86.PTE {
	switch {
	case e.Present():
		e = e.MkSoftDirty()
		if o.ClearUffd {
			e = e.ClearUffdWP()
		}
	case o.ClearUffd && o.DropMarker != nil && o.DropMarker(e):
		e = 0
	default:
		e |= x86.PageSwpSoftDirty
		if o.ClearUffd {
			e &^= x86.PageSwpUffdWP
		}
	}
	return e
}
