package x86

// Work on all entries of a table, as masks: see [PTEChange].

// CopyFlags say what of the areas decides about the copy of a page table at fork.
type CopyFlags uint8

const (
	CopyCOW        CopyFlags = 1 << iota // private and may be written: is_cow_mapping()
	CopyShared                           // VM_SHARED
	CopyKeepUffdWP                       // the child stays registered for userfaultfd write protection
)

// PTECopy is what fork does to present PTEs: the parent's changes as the PTEChange says, and the child gets
// new&ChildKeep.
//
// Linux: mm/memory.c:__copy_present_ptes()
type PTECopy struct {
	PTEChange
	ChildKeep uint64
}

// Copy works out what fork does.
//
// Linux: mm/memory.c:__copy_present_ptes()
func (a *ABI) Copy(f CopyFlags) PTECopy {
	c := PTECopy{PTEChange: a.noChange(), ChildKeep: ^uint64(PageAccessed)}
	if f&CopyCOW != 0 {
		c.Keep &^= PageRW
		switch {
		case a.shadowStack: // an entry with D alone can be written, too
			c.moveBit(PageDirty, PageDirty, PageDirty, a.savedDirty)
		case a.savedDirty != 0:
			c.moveBit(PageRW|PageDirty, PageRW|PageDirty, PageDirty, a.savedDirty)
		}
	}
	if f&CopyShared != 0 {
		c.ChildKeep &^= a.dirtyBits()
	}
	if f&CopyKeepUffdWP == 0 {
		c.ChildKeep &^= PageUffdWP
	}
	return c
}

// PTEHarvest takes bits away from pages and reports who had them. A page has a bit of Exists; it is reported if it has
// a bit of Report; it loses the bits of Clear.
type PTEHarvest struct {
	Exists, Report, Clear uint64
}

// HarvestYoung tests and clears A.
//
// Linux: arch/x86/mm/pgtable.c:ptep_test_and_clear_young()
func (a *ABI) HarvestYoung() PTEHarvest {
	return PTEHarvest{Exists: PagePresent | PageProtnone, Report: PageAccessed, Clear: PageAccessed}
}

// HarvestDirty reports dirty pages, and makes all pages clean and read-only.
//
// Linux: mm/rmap.c:page_vma_mkclean_one()
func (a *ABI) HarvestDirty() PTEHarvest {
	d := a.dirtyBits()
	return PTEHarvest{Exists: PagePresent | PageProtnone, Report: d, Clear: PageRW | d}
}

// PTEZap removes pages: entries with a bit of Exists. Those with a bit of Protected leave Marker behind, others 0.
// Entries without a bit of Filled are empty.
type PTEZap struct {
	Exists, Filled    uint64
	Protected, Marker uint64
}

// Zap works out the removal of pages. With a marker other than 0, which pages of files get, it takes the place of
// pages that are write-protected through userfaultfd.
//
// Linux: mm/memory.c:zap_present_ptes()
func (a *ABI) Zap(marker PTE) PTEZap {
	z := PTEZap{Exists: PagePresent | PageProtnone, Filled: ^uint64(PageKnlErratumMask), Marker: uint64(marker)}
	if marker != 0 {
		z.Protected = PageUffdWP
	}
	return z
}

// PTEKinds tells pages (a bit of Exists) and empty entries (no bit of Filled) from others.
type PTEKinds struct {
	Exists, Filled uint64
}

// Kinds returns how to tell them.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_present(), pte_none()
func (a *ABI) Kinds() PTEKinds {
	return PTEKinds{Exists: PagePresent | PageProtnone, Filled: ^uint64(PageKnlErratumMask)}
}

// PTERuns tells where a run of like entries ends. An entry breaks the run if it differs from the one before in a bit of
// Attributes, or, if it has a bit of Follow, if its frame is not the next one: greater by Step in the bits Frame, or
// less by Step if it has no Valid, because then the frame is inverted.
type PTERuns struct {
	Attributes uint64
	Follow     uint64
	Frame      uint64
	Step       uint64
	Valid      uint64
}

// Runs tells where attributes change, other than the frame and the bits of ignore; and, if frames is set, where pages
// are not at consecutive frames.
func (a *ABI) Runs(ignore uint64, frames bool) PTERuns {
	r := PTERuns{Attributes: ^(a.pteFrame | ignore), Frame: a.pteFrame, Step: PageSize, Valid: PagePresent}
	if frames {
		r.Follow = PagePresent | PageProtnone
	}
	return r
}
