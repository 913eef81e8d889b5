package thp

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Pages is the number of base pages in a huge one. Linux: include/linux/huge_mm.h:HPAGE_PMD_NR
const Pages = x86.EntriesPerTable

var (
	// ErrOccupied: the slot is not empty.
	ErrOccupied = errors.New("slot is not empty")
	// ErrNotHuge: nothing huge is in the slot.
	ErrNotHuge = errors.New("no huge page here")
	// ErrNoDeposit: a huge page should have a table deposited, and has none.
	ErrNoDeposit = errors.New("no table deposited")
	// ErrNotTable: no PTE table is in the slot.
	ErrNotTable = errors.New("no PTE table here")
	// ErrWritable: a change of protection would leave an anonymous huge page writable, which stops the kernel (6.1).
	ErrWritable = errors.New("anonymous huge page would end writable")
	// ErrPinned: the page is pinned, so that it cannot stop being exclusive.
	ErrPinned = errors.New("page may be pinned")
)

// Error says where an operation failed.
type Error struct {
	VA    x86.Virt
	PMD   x86.PMD
	PUD   x86.PUD   // in place of PMD where Level is LevelPUD
	Level x86.Level // LevelPUD; else it is about a PMD
	Err   error
}

func (e *Error) Error() string {
	if e.Level == x86.LevelPUD {
		return fmt.Sprintf("thp: %v: pud %#016x: %v", e.VA, uint64(e.PUD), e.Err)
	}
	return fmt.Sprintf("thp: %v: pmd %#016x: %v", e.VA, uint64(e.PMD), e.Err)
}

// Unwrap returns the reason, for errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// Area is what an area (VMA) says about its huge pages. It is not changed.
type Area struct {
	Layout *swapentry.Layout
	Prot   x86.Prot // vm_page_prot
	Anon   bool     // vma_is_anonymous()
	Write  bool     // VM_WRITE
	// ShadowStack is VM_SHADOW_STACK.
	ShadowStack bool

	// Zero is the frame of the zero page, HugeZero the first frame of the huge one; 0: there is none.
	Zero, HugeZero x86.PFN

	// Flusher is told at once where the kernel does not wait for a gather. nil: nobody caches anything.
	Flusher pgtable.Flusher
}

// Page is what only the page behind a PMD knows.
type Page struct {
	Anon      bool // PageAnon()
	Exclusive bool // PageAnonExclusive() of the head page
	Dirty     bool // folio_test_dirty()
	Device    bool // device-private memory (7.2)
	// Pinned says that an exclusive page cannot be shared: folio_try_share_anon_rmap_pmd() fails.
	Pinned bool
}

func (v *Area) abi() *x86.ABI { return v.Layout.ABI() }

// Leaf returns the PMD of the huge page at frame pfn as the area maps it.
//
// Linux: mm/huge_memory.c:mk_huge_pmd(); since 7.0 folio_mk_pmd()
func (v *Area) Leaf(pfn x86.PFN) x86.PMD { return x86.MkPMD(v.abi(), pfn, v.Prot).MkHuge() }

// ZeroLeaf returns the PMD of the huge zero page. Linux: mm/huge_memory.c:set_huge_zero_folio()
func (v *Area) ZeroLeaf() x86.PMD {
	e := v.Leaf(v.HugeZero)
	if v.abi().Kernel().HugeZeroSpecial {
		e = e.MkSpecial()
	}
	return e
}

// zeroLeaf is is_huge_zero_pmd().
func (v *Area) zeroLeaf(e x86.PMD) bool {
	return v.HugeZero != 0 && e.Present() && e.PFN(v.abi()) == v.HugeZero
}

// mkWrite is pmd_mkwrite(pmd, vma).
func (v *Area) mkWrite(e x86.PMD) x86.PMD {
	if v.ShadowStack && v.abi().Kernel().SavedDirty {
		return e.MkWriteShstk()
	}
	return e.MkWrite(v.abi())
}

// maybeMkWrite is maybe_pmd_mkwrite(). Linux: mm/huge_memory.c:maybe_pmd_mkwrite()
func (v *Area) maybeMkWrite(e x86.PMD) x86.PMD {
	if v.Write {
		return v.mkWrite(e)
	}
	return e
}

// mkWritePTE is pte_mkwrite(pte, vma).
func (v *Area) mkWritePTE(e x86.PTE) x86.PTE {
	if v.ShadowStack && v.abi().Kernel().SavedDirty {
		return e.MkWriteShstk()
	}
	return e.MkWrite(v.abi())
}

// deposits reports whether the kernel keeps a PTE table for e: on x86 for everything in an anonymous area, and for the
// huge zero page.
//
// Linux: arch_needs_pgtable_deposit(), which x86 leaves false
func (v *Area) deposits(e x86.PMD) bool { return v.Anon || v.zeroLeaf(e) }

// flush tells processors at once. Linux: flush_pmd_tlb_range(), flush_tlb_range()
func (v *Area) flush(t *pgtable.Tree, va x86.Virt, l x86.Level) {
	if v.Flusher != nil {
		v.Flusher.FlushTLB(t, pgtable.Flush{Range: span(va), Levels: 1 << l})
	}
}

// span returns the 2 MiB that hold va.
func span(va x86.Virt) pgtable.Range {
	mask := x86.Virt(x86.LevelPMD.Size() - 1)
	return pgtable.Range{First: va &^ mask, Last: va | mask}
}

// tableEntry reports whether e points to a PTE table.
func tableEntry(e x86.PMD) bool { return e&x86.PagePresent != 0 && !e.Leaf() }

// hugeEntry reports whether e is a leaf or stands in the place of one. Linux: include/linux/huge_mm.h:pmd_is_huge()
func hugeEntry(e x86.PMD) bool { return !e.None() && !tableEntry(e) }
