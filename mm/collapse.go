package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
	"ptemu/thp"
)

// collapseRange makes huge pages of the 2 MiB pieces that lie whole in r, which is part of v.
//
// Linux: mm/khugepaged.c:madvise_collapse()
func (s *Space) collapseRange(c *CPU, v *VMA, r pgtable.Range) error {
	if !v.Anonymous() || v.flags&VMNoHugePage != 0 || v.anon == nil || !v.holdsHuge() {
		return &CallError{"madvise", r.First, ErrInval}
	}
	const size = x86.Virt(thp.Pages * x86.PageSize)
	if m := s.m; m.Policy.CollapseWantsEdge && (r.First+size-1)&^(size-1) > (r.Last+1)&^(size-1) {
		return &CallError{"madvise", r.First, ErrInval} // not even an empty piece between two of them
	}
	lim := thp.Limits{None: thp.Pages, Swap: thp.Pages, Shared: thp.Pages, UffdArmed: v.flags&vmUffd != 0}
	var failed error // the last one counts
	for va := (r.First + size - 1) &^ (size - 1); va+size-1 <= r.Last; va += size {
		if _, huge := s.hugePMD(va); huge {
			continue
		}
		verdict, err := s.collapse(c, v, va, lim)
		if err != nil {
			return &CallError{"madvise", va, err}
		}
		if verdict != thp.CollapseOK {
			failed = &CallError{"madvise", va, s.m.Policy.collapseErrno(verdict)}
		}
		if s.m.Policy.collapseEnds(verdict) {
			break
		}
	}
	return failed
}

// holdsHuge reports that the area has room for a huge page. Linux: mm/huge_memory.c:thp_vma_suitable_order()
func (v *VMA) holdsHuge() bool {
	const size = x86.Virt(thp.Pages * x86.PageSize)
	return (v.Start+size-1)&^(size-1)+size <= v.End
}

// collapseErrno is madvise_collapse_errno().
func (p *Policy) collapseErrno(v thp.Verdict) error {
	switch v {
	case thp.ExceedNone:
		if p.CollapseNoneBusy {
			return ErrBusy
		}
		return ErrInval
	case thp.ExceedSwap, thp.ExceedShared, thp.UffdWP, thp.NoWritable, thp.NotReferenced, thp.NoTable:
		return ErrInval
	}
	return ErrAgain
}

// collapseEnds reports that nothing behind the 2 MiB with this verdict is tried any more.
//
// Linux: mm/khugepaged.c:madvise_collapse(), the "whitelisted set of results"
func (p *Policy) collapseEnds(v thp.Verdict) bool {
	switch v {
	case thp.ExceedNone, thp.ExceedSwap, thp.ExceedShared:
		return true
	case thp.NoTable:
		return !p.CollapsePassesHoles
	}
	return false
}

// Khugepaged looks at the 2 MiB at va of the space as khugepaged does, and makes them a huge page if lim allows it.
//
// Linux: mm/khugepaged.c:khugepaged_scan_mm_slot()
func (s *Space) Khugepaged(c *CPU, va x86.Virt, lim thp.Limits) (thp.Verdict, error) {
	v := s.VMA(va)
	if v == nil || !v.hugeAllowed(va) {
		return thp.PageUnfit, &CallError{"khugepaged", va, ErrInval}
	}
	lim.UffdArmed = v.flags&vmUffd != 0
	s.writeLock()
	defer s.writeUnlock()
	va &^= x86.Virt(x86.LevelPMD.Size() - 1)
	if s.m.Policy.LazyFreeClean && s.givenUp(va) {
		return thp.PageUnfit, nil
	}
	return s.collapse(c, v, va, lim)
}

// givenUp reports that one of the 2 MiB's pages was given up by MADV_FREE, and not written since.
//
// Linux: mm/khugepaged.c:SCAN_PAGE_LAZYFREE
func (s *Space) givenUp(va x86.Virt) bool {
	c, err := s.tree.LockPTEs(va, false)
	if err != nil {
		return false
	}
	defer c.Unlock()
	for i := range thp.Pages {
		e := c.Get(i)
		pfn, ok := s.m.normal(e)
		if ok && !e.Dirty(s.m.abi) && s.m.folio(pfn).flags&(pgAnon|pgSwapBacked) == pgAnon {
			return true
		}
	}
	return false
}

// collapse is hpage_collapse_scan_pmd() and collapse_huge_page().
func (s *Space) collapse(c *CPU, v *VMA, va x86.Virt, lim thp.Limits) (thp.Verdict, error) {
	m := s.m
	verdict := s.collapsible(v, va, lim)
	if verdict != thp.CollapseOK {
		return verdict, nil
	}
	if err := s.swapInRange(c, v, va); err != nil {
		return thp.ExceedSwap, nil
	}
	to, err := m.alloc(hugeOrder)
	if err != nil {
		return thp.PageUnfit, ErrNoMem
	}
	v.prepareAnon()
	var old [thp.Pages]x86.PTE
	err = v.area().Collapse(s.tree, va, to, func(t pgtable.PTECursor) error {
		// The table went away, and may come back elsewhere. INVLPG, with which the kernel has just flushed its pages,
		// drops what is cached of tables, too.
		m.FlushTLB(s.tree, pgtable.Flush{Range: span(va, thp.Pages), Levels: 1 << x86.LevelPTE, FreedTables: true})
		for i := range old {
			old[i] = t.Get(i)
			if !s.isolates(v, old[i]) {
				return errUnfit
			}
		}
		for i, e := range old {
			if pfn, ok := m.normal(e); ok {
				*m.content(to + x86.PFN(i)) = *m.content(pfn)
			}
		}
		return nil
	})
	if err == errUnfit {
		m.put(to)
		return thp.PageUnfit, nil
	} else if err != nil {
		m.put(to)
		return thp.PageUnfit, ErrAgain
	}
	for _, e := range old {
		if pfn, ok := m.normal(e); ok {
			m.removeMapping(pfn)
			if m.folio(pfn).flags&pgSwapCache != 0 && m.mapcount(pfn) == 0 {
				m.freeSwapCache(m.head(pfn))
			}
			m.put(pfn)
		}
	}
	m.addHugeAnon(to, v, va)
	return thp.CollapseOK, nil
}

var errUnfit = &CallError{Call: "collapse", Err: ErrAgain}

// collapsible judges the entries as they are.
func (s *Space) collapsible(v *VMA, va x86.Virt, lim thp.Limits) thp.Verdict {
	var ptes [thp.Pages]x86.PTE
	c, err := s.tree.LockPTEs(va, false)
	if err != nil {
		return thp.NoTable
	}
	for i := range ptes {
		ptes[i] = c.Get(i)
	}
	c.Unlock()
	return v.area().Collapsible(&ptes, lim, func(i int, e x86.PTE) thp.CollapsePage {
		pfn, ok := s.m.normal(e)
		if !ok {
			return thp.CollapsePage{}
		}
		f := s.m.folio(pfn)
		return thp.CollapsePage{Fit: s.isolates(v, e), Shared: s.m.sharedMapcount(pfn), Young: f.flags&pgReferenced != 0}
	})
}

// isolates reports that the page of e, or the empty slot, can be copied: nobody but mappings and the swap cache holds it.
//
// Linux: mm/khugepaged.c:__collapse_huge_page_isolate()
func (s *Space) isolates(v *VMA, e x86.PTE) bool {
	m := s.m
	if e.None() {
		return true
	}
	if !e.Present() {
		return false
	}
	pfn, ok := m.normal(e)
	if !ok {
		return e.PFN(m.abi) == m.zero
	}
	f := m.folio(pfn)
	head := m.head(pfn)
	return f.flags&(pgAnon|pgKSM) == pgAnon && f.ref == int32(m.mapcount(head))+m.cacheRefs(head) && !e.UffdWP()
}

// swapInRange brings back what is swapped out, as accesses would; what makes those fail is an error. Linux: mm/khugepaged.c:__collapse_huge_page_swapin()
func (s *Space) swapInRange(c *CPU, v *VMA, va x86.Virt) error {
	for i := range x86.Virt(thp.Pages) {
		at := va + i*x86.PageSize
		e := s.pte(at)
		if !swapentry.SwapPTE(e) {
			continue
		}
		switch d := s.m.layout.Decode(x86.LevelPTE, uint64(e)); d.Kind {
		case swapentry.KindSwap:
			f := &fault{c: c, m: s.m, s: s, v: v, va: at, flags: faultRemote, orig: e}
			if err := f.swapIn(d); err != nil {
				return err
			}
		case swapentry.KindMarker, swapentry.KindHWPoison:
			return &AccessError{at, SegvAccErr} // a guard, or poison
		}
	}
	return nil
}
