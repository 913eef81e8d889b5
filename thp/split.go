package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// SplitKind says what a split met.
type SplitKind uint8

// What a split meets.
const (
	// SplitNothing: nothing huge was there (any more).
	SplitNothing SplitKind = iota
	// SplitCleared: a page of a file or of shared memory; the slot is empty now.
	SplitCleared
	// SplitZero: the huge zero page; 512 zero pages took its place.
	SplitZero
	// SplitPages: 512 PTEs took its place, present or, where the entry was not, like it.
	SplitPages
	// SplitFrozen: 512 migration entries took the place of a present page.
	SplitFrozen
)

// SplitResult says what a split did, and what it found out about the page.
type SplitResult struct {
	Kind  SplitKind
	Split bool    // something was split
	Old   x86.PMD // what was there
	PFN   x86.PFN // first frame, 0 for the zero page
	// Dirty and Young are what the page must be told (folio_set_dirty, folio_set_referenced).
	Dirty, Young bool
	// Exclusive says that each of the 512 pages is exclusive now, as the huge page was.
	Exclusive bool
}

// Split takes the huge page at va apart into PTEs; freeze asks for migration entries in place of pages. page answers
// for the page behind the entry. If nothing huge is there, nothing happens, and the result says so.
//
// Linux: mm/huge_memory.c:__split_huge_pmd_locked()
func (v *Area) Split(t *pgtable.Tree, va x86.Virt, page func(pfn x86.PFN) Page, freeze bool) (SplitResult, error) {
	return v.splitAt(t, va, page, freeze)
}

func (v *Area) splitAt(t *pgtable.Tree, va x86.Virt, page func(pfn x86.PFN) Page, freeze bool) (SplitResult, error) {
	c, err := t.LockPMDs(va, false)
	if err != nil {
		return SplitResult{}, &Error{VA: va, Err: err}
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPMD)
	e := c.Get(i)
	if !hugeEntry(e) {
		return SplitResult{}, nil
	}
	if !v.Anon {
		return v.splitFile(t, c, i), nil
	}
	var into [Pages]x86.PTE
	r := v.SplitEntries(e, v.ask(e, page), freeze, &into)
	if err := v.replace(t, c, i, &into); err != nil {
		return SplitResult{}, err
	}
	return r, nil
}

// ask asks about the page behind a huge entry.
func (v *Area) ask(e x86.PMD, page func(pfn x86.PFN) Page) Page {
	if page == nil || v.zeroLeaf(e) {
		return Page{Anon: v.Anon}
	}
	if e.Present() {
		return page(e.PFN(v.abi()))
	}
	return page(v.Layout.FromPMD(e).PFN(v.Layout))
}

// splitFile empties slot i: files and shared memory are mapped again by faults.
func (v *Area) splitFile(t *pgtable.Tree, c pgtable.PMDCursor, i int) SplitResult {
	e := c.GetAndClear(i)
	v.flush(t, c.Addr(i), x86.LevelPMD)
	r := SplitResult{Kind: SplitCleared, Split: true, Old: e}
	switch {
	case !e.Present():
		r.PFN = v.Layout.FromPMD(e).PFN(v.Layout)
	case !v.zeroLeaf(e):
		r.PFN = e.PFN(v.abi())
		r.Dirty, r.Young = e.Dirty(v.abi()), e.Young()
	}
	return r
}

// replace puts the withdrawn table, filled with into, in slot i.
func (v *Area) replace(t *pgtable.Tree, c pgtable.PMDCursor, i int, into *[Pages]x86.PTE) error {
	old := c.Get(i)
	va := c.Addr(i)
	if c.Deposited() == 0 {
		return &Error{VA: va, PMD: old, Err: ErrNoDeposit}
	}
	switch {
	case v.zeroLeaf(old):
		c.GetAndClear(i)
		v.flush(t, va, x86.LevelPMD)
	case old.Present():
		c.InvalidateAD(i)
		v.flush(t, va, x86.LevelPMD)
	}
	pfn, _ := c.Withdraw()
	ptes := t.LockTable(pfn, va)
	for j, e := range into {
		ptes.Table()[j] = uint64(e)
	}
	ptes.Recount()
	ptes.Unlock()
	c.Populate(i, pfn)
	return nil
}

// SplitEntries fills into with the PTEs that take the place of e, a huge entry of an anonymous area, and says what
// follows for the page.
//
// Linux: mm/huge_memory.c:__split_huge_pmd_locked(), __split_huge_zero_page_pmd()
func (v *Area) SplitEntries(e x86.PMD, p Page, freeze bool, into *[Pages]x86.PTE) SplitResult {
	switch {
	case v.zeroLeaf(e):
		v.splitZero(e, into)
		return SplitResult{Kind: SplitZero, Split: true, Old: e}
	case !e.Present():
		return v.splitSwap(e, p, freeze, into)
	}
	return v.splitPresent(e, p, freeze, into)
}

func (v *Area) splitZero(e x86.PMD, into *[Pages]x86.PTE) {
	pte := x86.MkPTE(v.abi(), v.Zero, v.Prot).MkSpecial()
	if e.UffdWP() {
		pte = pte.MkUffdWP(v.abi())
	}
	for i := range into {
		into[i] = pte
	}
}

// splitSwap splits a migration entry, or a device-private one, into 512 of its kind; freeze turns the latter into
// migration entries.
func (v *Area) splitSwap(e x86.PMD, p Page, freeze bool, into *[Pages]x86.PTE) SplitResult {
	l := v.Layout
	s := l.FromPMD(e)
	r := SplitResult{
		Kind: SplitPages, Split: true, Old: e, PFN: s.PFN(l), Exclusive: s.ReadableExclusiveMigration(l),
	}
	if l.PMDDevicePrivate(e) {
		exclusive := p.Anon && p.Exclusive
		freeze = freeze && !(exclusive && p.Pinned)
		r.Exclusive = exclusive && !freeze
		if freeze {
			r.Kind = SplitFrozen
			e = v.MigrationPMD(e, p)
			s = l.FromPMD(e)
		}
	}
	for i := range into {
		into[i] = x86.PTE(keepFlags(swapentry.MkSwp(s.Type(), s.Offset()+uint64(i)).PMD(), e, true, true))
	}
	return r
}

func (v *Area) splitPresent(e x86.PMD, p Page, freeze bool, into *[Pages]x86.PTE) SplitResult {
	a := v.abi()
	exclusive := p.Anon && p.Exclusive
	if freeze && exclusive && p.Pinned {
		freeze = false
	}
	r := SplitResult{
		Kind: SplitPages, Split: true, Old: e, PFN: e.PFN(a), Dirty: e.Dirty(a), Young: e.Young(),
		Exclusive: exclusive && !freeze,
	}
	if freeze {
		r.Kind = SplitFrozen
		s := v.migrationOf(e, r.PFN, exclusive)
		for i := range into {
			into[i] = v.migrationFlags(swapentry.MkSwp(s.Type(), s.Offset()+uint64(i)).PTE(), e)
		}
		return r
	}
	pte := v.splitPTE(e)
	for i := range into {
		into[i] = pte
		pte = pte.AdvancePFN(1)
	}
	return r
}

// splitPTE is the first of the PTEs that a present leaf becomes. A NUMA hint is not carried over.
func (v *Area) splitPTE(e x86.PMD) x86.PTE {
	a := v.abi()
	k := a.Kernel()
	pte := x86.MkPTE(a, e.PFN(a), v.Prot)
	if k.RestoreTrustsWrite {
		if e.Write(a) {
			pte = v.mkWritePTE(pte)
		}
	} else {
		if v.Write {
			pte = v.mkWritePTE(pte)
		}
		if !e.Write(a) {
			pte = pte.WrProtect(a)
		}
	}
	if !e.Young() {
		pte = pte.MkOld()
	}
	if e.Dirty(a) && k.SplitKeepsDirty {
		pte = pte.MkDirty(a)
	}
	if e.SoftDirty() {
		pte = pte.MkSoftDirty()
	}
	if e.UffdWP() {
		pte = pte.MkUffdWP(a)
	}
	return pte
}
