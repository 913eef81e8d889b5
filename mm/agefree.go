package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
	"ptemu/thp"
)

// freeOther gives up what an entry that is not a page stands for.
func (a *ager) freeOther(t pgtable.PTECursor, i int, e x86.PTE) {
	d := a.layout.Decode(x86.LevelPTE, uint64(e))
	switch {
	case d.Kind == swapentry.KindSwap:
		t.Clear(i)
		a.swap.put(e, a.layout)
	case d.Kind == swapentry.KindHWPoison, d.Kind == swapentry.KindSwapinError,
		d.Kind == swapentry.KindMarker && d.Marker&swapentry.MarkerPoisoned != 0:
		t.Clear(i)
	}
}

// freePages makes the n slots from i on, which are all of the folio at head, old and clean, and the folio one that may
// be dropped.
func (a *ager) freePages(t pgtable.PTECursor, i, n int, head x86.PFN) {
	f := &a.pages[head]
	if a.freeSwapCache(head); f.flags&(pgSwapCache|pgLocked) != 0 {
		return
	}
	f.flags &^= pgDirty
	used := false
	for j := range n {
		if e := t.Get(i + j); e.Young() || e.Dirty(a.abi) {
			t.Set(i+j, e.MkOld().MkClean(a.abi))
			used = true
		}
	}
	if used {
		a.g.PTEs(t, i, i+n-1)
	}
	a.markLazyFree(f)
}

// markLazyFree is folio_mark_lazyfree().
func (a *ager) markLazyFree(f *page) {
	if f.flags&(pgAnon|pgSwapBacked|pgSwapCache|pgNoLRU|pgKSM) == pgAnon|pgSwapBacked {
		f.flags &^= pgSwapBacked | pgReferenced
	}
}

// huge ages a huge page, and reports whether that was all. Else its pages are to be looked at one by one: the range
// covers it only in part, and it has been split.
//
// Linux: mm/madvise.c:madvise_cold_or_pageout_pte_range(), mm/huge_memory.c:madvise_free_huge_pmd()
func (a *ager) huge(slot *pgtable.PMDSlot) bool {
	head, ok := a.normalPMD(slot.Entry)
	if !ok || !slot.Entry.Leaf() || a.shared(head) {
		return true
	}
	if !slot.Whole() {
		a.get(head)
		split := a.splitFolio(a.c, head)
		a.put(head)
		slot.Reload()
		return !split
	}
	f := &a.pages[head]
	if f.flags&pgLocked != 0 {
		return true
	}
	if a.how == ageFree {
		if f.flags &^= pgDirty; f.flags&pgSwapCache != 0 {
			return true
		}
	}
	if a.makesOld() {
		a.agePMD(slot)
	}
	if a.how == ageFree {
		a.markLazyFree(f)
	} else {
		a.isolate(head)
	}
	return true
}

// agePMD makes the leaf old, and clean if its content is given up.
func (a *ager) agePMD(slot *pgtable.PMDSlot) {
	t, err := slot.LockPMDs()
	if err != nil {
		return
	}
	defer t.Unlock()
	i := slot.Index()
	e := t.Get(i)
	n := e.MkOld()
	if a.how == ageFree {
		n = n.MkClean(a.abi)
	}
	if !e.Young() && (a.how != ageFree || !e.Dirty(a.abi)) {
		return
	}
	t.InvalidateAD(i)
	t.Set(i, n)
	first := slot.First &^ x86.Virt(x86.LevelPMD.Size()-1)
	a.g.Range(span(first, thp.Pages), x86.LevelPMD)
}

// shared reports that others map the folio too, as the advice sees it.
func (a *ager) shared(head x86.PFN) bool {
	if a.Policy.SwapLarge {
		return a.sharedMappings(head)
	}
	if a.how != ageFree {
		return a.pages[head].mapped+a.pages[head].whole != 1 // page_mapcount() of the first page
	}
	return a.mapcount(head) != 1
}
