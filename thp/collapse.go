package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// CollapsedPMD returns the entry that takes the place of a PTE table when its pages have been copied to the huge page
// at frame pfn: always dirty, soft-dirty and young, and writable if the area is.
//
// Linux: mm/khugepaged.c:collapse_huge_page()
func (v *Area) CollapsedPMD(pfn x86.PFN) x86.PMD {
	return v.maybeMkWrite(v.Leaf(pfn).MkDirty(v.abi()))
}

// Collapse puts the huge page at frame pfn in the place of the PTE table at va. Processors are told as soon as the table
// is out of their reach. Then gather, which must check and copy the pages, sees each entry; if it agrees, the table is
// emptied, deposited, and the huge page mapped; on an error of gather everything is as it was, and Collapse returns it.
//
// Linux: mm/khugepaged.c:collapse_huge_page(), __collapse_huge_page_isolate(), __collapse_huge_page_copy()
func (v *Area) Collapse(t *pgtable.Tree, va x86.Virt, pfn x86.PFN, gather func(c pgtable.PTECursor) error) error {
	c, err := t.LockPMDs(va, false)
	if err != nil {
		return &Error{VA: va, Err: err}
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPMD)
	old := c.Get(i)
	if !tableEntry(old) {
		return &Error{VA: va, PMD: old, Err: ErrNotTable}
	}
	_, table := c.TakeTable(i)
	v.flush(t, va, x86.LevelPTE)
	ptes := t.LockTable(table, c.Addr(i))
	if err := gather(ptes); err != nil {
		ptes.Unlock()
		c.Populate(i, table)
		return err
	}
	clear(ptes.Table()[:])
	ptes.Recount()
	ptes.Unlock()
	c.Deposit(table)
	c.Set(i, v.CollapsedPMD(pfn))
	return nil
}

// Verdict is why a table cannot be collapsed, in the terms of khugepaged's scan_result.
//
// Linux: mm/khugepaged.c:enum scan_result
type Verdict uint8

// The verdicts of [Area.Collapsible].
const (
	CollapseOK    Verdict = iota
	ExceedNone            // too many empty slots and zero pages
	ExceedSwap            // too many entries that are not present
	ExceedShared          // too many pages that others map too
	UffdWP                // a page or swap entry is protected by userfaultfd
	PageUnfit             // a page that cannot be taken: pinned, locked, not on the LRU, not anonymous
	NoWritable            // no entry is writable
	NotReferenced         // no page was used lately
	NoTable               // there is no PTE table; [Area.Collapsible] does not say this
)

// Limits are khugepaged's. MADV_COLLAPSE has none: all are [Pages], and Referenced is false.
//
// Linux: /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none, max_ptes_swap, max_ptes_shared
type Limits struct {
	None, Swap, Shared int
	// Referenced says that at least one page must have been used lately, half of them if others are not present.
	Referenced bool
	// UffdArmed says that userfaultfd watches the area: no slot may be empty.
	UffdArmed bool
}

// CollapsePage is what a scan must know about a page.
type CollapsePage struct {
	Fit    bool // can be taken
	Shared bool // others map it too
	Young  bool // was used lately, whatever the entry says
}

// Collapsible judges the entries of a PTE table as khugepaged's scan of an anonymous area does, in its order, so that
// the first obstacle counts. page answers for present pages.
//
// Linux: mm/khugepaged.c:hpage_collapse_scan_pmd()
func (v *Area) Collapsible(ptes *[Pages]x86.PTE, lim Limits, page func(i int, e x86.PTE) CollapsePage) Verdict {
	none, swap, shared := 0, 0, 0
	writable, referenced := false, 0
	a := v.abi()
	for i, e := range ptes {
		switch {
		case e.None() || e.Present() && v.zeroPage(e):
			if none++; lim.UffdArmed || none > lim.None {
				return ExceedNone
			}
			continue
		case !e.Present():
			if swap++; swap > lim.Swap {
				return ExceedSwap
			}
			if v.swapProtected(e) {
				return UffdWP
			}
			continue
		case e.UffdWP():
			return UffdWP
		}
		writable = writable || e.Write(a)
		p := page(i, e)
		if p.Shared {
			if shared++; shared > lim.Shared {
				return ExceedShared
			}
		}
		if !p.Fit {
			return PageUnfit
		}
		if e.Young() || p.Young {
			referenced++
		}
	}
	switch {
	case !writable && a.Kernel().CollapseNeedsWrite:
		return NoWritable
	case lim.Referenced && (referenced == 0 || swap > 0 && referenced < Pages/2):
		return NotReferenced
	}
	return CollapseOK
}

func (v *Area) zeroPage(e x86.PTE) bool { return v.Zero != 0 && e.PFN(v.abi()) == v.Zero }

// swapProtected reports a swap form that userfaultfd protects. 6.1 looks at the flag alone, not at markers.
func (v *Area) swapProtected(e x86.PTE) bool {
	if v.abi().Kernel().CollapseSeesMarkers {
		return v.Layout.PTESwpUffdWPAny(e)
	}
	return e&x86.PageSwpUffdWP != 0
}
