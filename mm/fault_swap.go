package mm

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// swapIn handles an access to a page that is in the swap area.
//
// Linux: mm/memory.c:do_swap_page()
func (f *fault) swapIn(d swapentry.Entry) error {
	m := f.m
	if d.Type != 0 || !m.swap.has(d.Offset) {
		return f.bus()
	}
	page, err := f.swapPage(d.Offset)
	if page == 0 {
		return err
	}
	if m.pages[page].flags&pgPoison != 0 {
		m.put(page)
		return &AccessError{f.va, BusHWPoison}
	}
	use := page
	if f.v.needsCopy(page, f.va) {
		use, err = m.copyOf(page)
		defer m.putUnmapped(page)
		if err != nil {
			return f.oom()
		}
	}
	if !f.mapSwapped(d.Offset, use) {
		m.put(use)
		return nil
	}
	if f.flags&faultWrite != 0 {
		return f.writeProtected()
	}
	return nil
}

// swapPage returns the page of a slot, with a reference: that of the swap cache, or a new one. Without a page and an
// error, the access is to be made again.
//
// Linux: mm/swap_state.c:swap_cache_get_folio(), swapin_readahead()
func (f *fault) swapPage(slot uint64) (x86.PFN, error) {
	m := f.m
	s := &m.swap.slots[slot]
	if page := s.page; page != 0 {
		m.get(page) // who waits for it keeps it in the swap cache
		locked := m.folio(page).flags&pgLocked != 0
		switch {
		case locked && !m.waitFor(func() bool { return m.folio(page).flags&pgLocked == 0 }):
			m.put(page)
			return 0, &WaitError{f.va}
		case s.page != page:
			m.put(page)
			return 0, nil
		}
		return page, nil
	}
	page, err := m.swap.readSlot(slot, m.swap.direct && m.Policy.SwapInBypasses && s.count == 1)
	switch {
	case errors.Is(err, ErrIO):
		return 0, f.bus()
	case err != nil:
		return 0, f.oom()
	}
	return page, nil
}

// needsCopy reports that the page, which the swap cache has, belongs to another mapping already, so that it cannot be
// mapped at va: it was a KSM page when it went out.
//
// Linux: mm/ksm.c:ksm_might_need_to_copy()
func (v *VMA) needsCopy(pfn x86.PFN, va x86.Virt) bool {
	f := v.space.m.folio(pfn)
	if f.order > 0 || f.flags&pgKSM != 0 || f.flags&pgAnon == 0 || f.anon == nil || v.anon == nil {
		return false
	}
	return f.anon.root != v.anon.root || f.index != v.index(va)
}

// copyOf returns a new page with the content of pfn.
func (m *Machine) copyOf(pfn x86.PFN) (x86.PFN, error) {
	to, err := m.allocFor(true)
	if err != nil {
		return 0, err
	}
	*m.content(to) = *m.content(pfn)
	m.pages[to].flags |= pgSwapBacked
	return to, nil
}

// mapSwapped maps the page that holds the content of a slot, and with it the rest of its large folio if all of it is
// swapped out here. The reference of the caller becomes that of the mapping. False: the entry has changed.
func (f *fault) mapSwapped(slot uint64, page x86.PFN) bool {
	m := f.m
	c, ok := f.relock()
	if !ok {
		return false
	}
	defer c.Unlock()
	f.v.prepareAnon()
	idx, n := f.swapBatch(c, page)
	head := m.head(page)
	folio := &m.pages[head]
	ksm := folio.flags&pgKSM != 0
	exclusive := !ksm && (swapentry.PTESwpExclusive(f.orig) || folio.flags&pgSwapCache == 0)
	for i := range uint64(n) {
		m.swap.release(slot - uint64(idx) + i)
	}
	if !m.Policy.SwapInFreesLast && f.freesSwap(folio, 1) {
		m.freeSwapCache(head)
	}
	own := !ksm && (exclusive || folio.ref == 1)
	e := f.swapped(page, own)
	first := page - x86.PFN(idx)
	m.mapSwapPages(first, n, f.v, f.va-x86.Virt(idx)*x86.PageSize, own)
	if n == 1 {
		c.Set(f.slot(), e)
	} else {
		c.SetRange(f.slot()-idx, n, e.AdvancePFN(-uint64(idx)))
	}
	f.orig = e
	if m.Policy.SwapInFreesLast && f.freesSwap(folio, n) {
		m.freeSwapCache(head)
	}
	return true
}

// swapBatch returns the index of page in its folio and the number of pages if the whole folio is to be mapped, else 0
// and 1.
func (f *fault) swapBatch(c pgtable.PTECursor, page x86.PFN) (idx, n int) {
	m := f.m
	folio := m.folio(page)
	if folio.order == 0 || folio.flags&pgSwapCache == 0 || !m.Policy.SwapLarge {
		return 0, 1
	}
	idx, n = int(page-m.head(page)), 1<<folio.order
	before, after := x86.Virt(idx)*x86.PageSize, x86.Virt(n-idx)*x86.PageSize
	slot := f.slot() - idx
	if slot < 0 || slot+n > x86.EntriesPerTable || f.va-f.v.Start < before || f.v.End-f.va < after {
		return 0, 1
	}
	for i := range n {
		if c.Get(slot+i) != m.layout.PTESwpMoveOffset(f.orig, int64(i-idx)) {
			return 0, 1
		}
	}
	return idx, n
}

// freesSwap reports that the swap cache should give the folio up, which has so many references for its mappings here: the
// slot is wanted, or its content is about to change, or where frees come last, the device is fast.
//
// Linux: mm/memory.c:should_try_to_free_swap()
func (f *fault) freesSwap(folio *page, mapped int) bool {
	switch {
	case folio.flags&pgSwapCache == 0:
		return false
	case f.m.swap.direct && f.m.Policy.SwapInFreesLast:
		return true
	case f.m.swap.full(), f.v.flags&VMLocked != 0:
		return true
	}
	return f.flags&faultWrite != 0 && folio.flags&pgKSM == 0 && folio.ref == int32(mapped+1<<folio.order)
}

// swapped is the entry for a page that came back from swap. own: nobody else may have it. If that makes the entry
// writable for a write, nothing is left to do for that.
func (f *fault) swapped(page x86.PFN, own bool) x86.PTE {
	m, abi := f.m, f.m.abi
	e := x86.MkPTE(abi, page, f.v.prot)
	write := f.flags&faultWrite != 0
	if m.Policy.SwapInFlagsFirst {
		if e = f.swapFlags(e); !own {
			return e
		}
		w := m.mkWrite(f.v, f.va, e, GainSwapIn)
		if w.Write(abi) && write {
			w = w.MkDirty(abi)
			f.flags &^= faultWrite
		}
		return w
	}
	if own && write {
		e = m.mkWrite(f.v, f.va, e.MkDirty(abi), GainSwapIn)
		f.flags &^= faultWrite
	}
	e = f.swapFlags(e)
	if e.UffdWP() {
		e = e.WrProtect(abi)
	}
	return e
}

// swapFlags gives e the flags that the swap entry has kept.
func (f *fault) swapFlags(e x86.PTE) x86.PTE {
	if swapentry.SwpSoftDirty(f.orig) {
		e = e.MkSoftDirty()
	}
	if swapentry.SwpUffdWP(f.orig) {
		e = e.MkUffdWP(f.m.abi)
	}
	return e
}

// mapSwapPages counts the mappings of n pages from first on, the first of them at va. One of the references is the
// caller's.
//
// Linux: mm/rmap.c:folio_add_new_anon_rmap(), folio_add_anon_rmap_ptes()
func (m *Machine) mapSwapPages(first x86.PFN, n int, v *VMA, va x86.Virt, exclusive bool) {
	head := m.head(first)
	folio := &m.pages[head]
	if folio.flags&pgAnon == 0 {
		folio.flags |= pgAnon | pgSwapBacked
		folio.anon, folio.index = v.anon.root, v.index(va)-uint64(first-head)
		if exclusive {
			folio.anon = v.anon
		}
	}
	for i := range x86.PFN(n) {
		m.pages[first+i].mapped++
		if exclusive {
			m.setExclusive(first+i, true)
		}
	}
	folio.ref += int32(n) - 1
}
