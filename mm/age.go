package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// ageing is what MADV_COLD, MADV_PAGEOUT and MADV_FREE do with the pages of a range.
type ageing uint8

const (
	ageCold ageing = iota
	ageOut
	ageFree
)

// cold makes the pages of part r of v look unused. Linux: mm/madvise.c:madvise_cold()
func (s *Space) cold(c *CPU, v *VMA, r pgtable.Range) error { return s.age(c, v, r, ageCold) }

// pageOut reclaims the pages of part r of v that nobody else maps. Linux: mm/madvise.c:madvise_pageout()
func (s *Space) pageOut(c *CPU, v *VMA, r pgtable.Range) error { return s.age(c, v, r, ageOut) }

// lazyFree gives the content of part r of v up: until a page is written again, it may be replaced by zeros.
//
// Linux: mm/madvise.c:madvise_free_single_vma()
func (s *Space) lazyFree(c *CPU, v *VMA, r pgtable.Range) error { return s.age(c, v, r, ageFree) }

// ager goes over the tables of a range.
type ager struct {
	*Machine
	c     *CPU
	g     *gather
	v     *VMA
	how   ageing
	found []x86.PFN // folios to reclaim, each with a reference
}

func (s *Space) age(c *CPU, v *VMA, r pgtable.Range, how ageing) error {
	g := c.gather(s)
	defer g.finish()
	s.flushBatched()
	a := ager{Machine: s.m, c: c, g: g, v: v, how: how}
	return s.tree.EachPMD(r, false, func(slot pgtable.PMDSlot) error {
		if slot.Level != x86.LevelPMD {
			return nil
		}
		if slot.HasTable() || !a.huge(&slot) {
			a.table(&slot)
		}
		a.shrinkFound()
		return nil
	})
}

// table ages the pages of a PTE table.
//
// Linux: mm/madvise.c:madvise_cold_or_pageout_pte_range(), madvise_free_pte_range()
func (a *ager) table(slot *pgtable.PMDSlot) {
	t, err := slot.LockPTEs()
	if err != nil {
		return
	}
	first, last := slot.Slots()
	for i := first; i <= last; {
		n, split := a.entry(t, i, last)
		if split == 0 {
			i += n
			continue
		}
		t.Unlock()
		a.get(split)
		done := !(a.Policy.SwapLarge && a.sharedMappings(split)) && a.splitFolio(a.c, split)
		a.put(split)
		if t, err = slot.LockPTEs(); err != nil {
			return
		}
		switch {
		case done: // look again: the pages are single ones now
		case !a.Policy.SwapLarge:
			i = last + 1
		default:
			i += n
		}
	}
	t.Unlock()
}

// entry ages the page of slot i, or a run of slots that are a whole folio. It returns the number of slots that are done,
// and the large folio that must be split first.
func (a *ager) entry(t pgtable.PTECursor, i, last int) (n int, split x86.PFN) {
	e := t.Get(i)
	pfn, ok := a.normal(e)
	if !ok {
		if a.how == ageFree && !e.None() && !e.Present() {
			a.freeOther(t, i, e)
		}
		return 1, 0
	}
	head := a.head(pfn)
	f := &a.pages[head]
	n = 1
	if f.order > 0 {
		var ok bool
		if n, ok = a.large(t, i, last, pfn); !ok {
			return n, 0
		}
		if n < 1<<f.order {
			return n, head
		}
	}
	mine := a.mapcount(head) == n
	if a.how == ageFree {
		if mine || f.flags&(pgSwapCache|pgDirty) == 0 {
			a.freePages(t, i, n, head)
		}
		return n, 0
	}
	if !mine || f.flags&(pgNoLRU|pgLocked) != 0 {
		return n, 0
	}
	young := false
	for j := range n {
		young = a.makesOld() && t.TestAndClearYoung(i+j) || young
	}
	if young {
		a.g.PTEs(t, i, i+n-1)
	}
	a.isolate(head)
	return n, 0
}

// makesOld reports that entries become old.
func (a *ager) makesOld() bool { return a.how != ageOut || !a.Policy.PageOutKeepsYoung }

// isolate notes that the folio was not used, and that it is to be reclaimed.
func (a *ager) isolate(head x86.PFN) {
	a.pages[head].flags &^= pgReferenced
	if a.how == ageOut {
		a.get(head)
		a.found = append(a.found, head)
	}
}

// large looks at slot i, which maps page pfn of a large folio. It returns how many slots from i on map it one after the
// other, and whether the folio is to be touched at all.
//
// Linux: mm/madvise.c:madvise_folio_pte_batch()
func (a *ager) large(t pgtable.PTECursor, i, last int, pfn x86.PFN) (n int, ok bool) {
	head := a.head(pfn)
	if !a.Policy.SwapLarge {
		asked := pfn
		if a.how == ageFree {
			asked = head // folio_estimated_sharers()
		}
		if a.pages[asked].mapped+a.pages[head].whole != 1 {
			return last + 1 - i, false
		}
		return 1, true
	}
	end := head + x86.PFN(a.folioSize(pfn))
	bits := func(e x86.PTE) x86.PTE { return e.MkOld().WrProtect(a.abi).MkClean(a.abi).ClearSoftDirty() }
	next := bits(t.Get(i))
	for n = 1; i+n <= last && pfn+x86.PFN(n) < end; n++ {
		if next = next.AdvancePFN(1); bits(t.Get(i+n)) != next {
			break
		}
	}
	return n, true
}
