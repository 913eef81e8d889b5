package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// A FoundFunc is told of a huge page, as it was, that an operation looked for. The lock of the PMD table is held.
type FoundFunc func(va x86.Virt, e x86.PMD)

func (f FoundFunc) tell(va x86.Virt, e x86.PMD) {
	if f != nil {
		f(va, e)
	}
}

// present returns a HugeFunc that calls f for present 2 MiB leaves. One of which the range touches a part counts as a
// whole, and none is split. Migration entries and 1 GiB leaves are passed over.
func present(f func(c pgtable.PMDCursor, i int, e x86.PMD)) pgtable.HugeFunc {
	return func(s pgtable.PMDSlot) (split bool, err error) {
		if s.Level != x86.LevelPMD {
			return false, nil
		}
		c, err := s.LockPMDs()
		if err != nil {
			return false, &Error{VA: s.First, Err: err}
		}
		defer c.Unlock()
		i := s.Index()
		e := c.Get(i)
		switch {
		case !hugeEntry(e):
			return true, nil
		case e.Present():
			f(c, i, e)
		}
		return false, nil
	}
}

// YoungFinder returns what [pgtable.Tree.Young] does with huge pages, for the same clear: those with A are told to
// found, which may be nil, and with clear lose it. Nothing is flushed or owed.
//
// Linux: arch/x86/mm/pgtable.c:pmdp_test_and_clear_young(); mm/vmscan.c:walk_pmd_range_locked(),
// mm/damon/vaddr.c:damon_mkold_pmd_entry(), damon_young_pmd_entry()
func YoungFinder(clear bool, found FoundFunc) pgtable.HugeFunc {
	return present(func(c pgtable.PMDCursor, i int, e x86.PMD) {
		if !e.Young() {
			return
		}
		if clear {
			c.TestAndClearYoung(i)
		}
		found.tell(c.Addr(i), e)
	})
}

// IdleFinder returns what [pgtable.Tree.Idle] does with huge pages: A is cleared, and those that had none are told to
// found, which may be nil.
//
// Linux: mm/page_idle.c:page_idle_clear_pte_refs_one()
func IdleFinder(found FoundFunc) pgtable.HugeFunc {
	return present(func(c pgtable.PMDCursor, i int, e x86.PMD) {
		if !c.TestAndClearYoung(i) {
			found.tell(c.Addr(i), e)
		}
	})
}

// YoungMaker returns what [pgtable.Tree.MkYoung] does with huge pages.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_mkyoung()
func YoungMaker() pgtable.HugeFunc {
	return present(func(c pgtable.PMDCursor, i int, e x86.PMD) { c.Set(i, e.MkYoung()) })
}

// DirtyFinder returns what [pgtable.Tree.Dirty] does with huge pages: those that are dirty are told to found.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_dirty()
func (v *Area) DirtyFinder(found FoundFunc) pgtable.HugeFunc {
	return present(func(c pgtable.PMDCursor, i int, e x86.PMD) {
		if e.Dirty(v.abi()) {
			found.tell(c.Addr(i), e)
		}
	})
}

// CleanPMD returns what write-back makes of a present leaf before it writes the page, and whether it does anything: to
// one that is neither dirty nor writable it does not.
//
// Linux: mm/rmap.c:page_vma_mkclean_one()
func (v *Area) CleanPMD(e x86.PMD) (x86.PMD, bool) {
	a := v.abi()
	if !e.Dirty(a) && !e.Write(a) {
		return e, false
	}
	return e.WrProtect(a).MkClean(a), true
}

// Cleaner returns what [pgtable.Tree.MkClean] does with huge pages of the tree t: those that are dirty or writable
// become clean and read-only, and those that were dirty are told to found. Processors are told at once.
//
// Linux: mm/rmap.c:page_vma_mkclean_one()
func (v *Area) Cleaner(t *pgtable.Tree, found FoundFunc) pgtable.HugeFunc {
	return present(func(c pgtable.PMDCursor, i int, e x86.PMD) {
		n, changed := v.CleanPMD(e)
		if !changed {
			return
		}
		c.InvalidateAD(i)
		v.flush(t, c.Addr(i), x86.LevelPMD)
		c.Set(i, n)
		if e.Dirty(v.abi()) {
			found.tell(c.Addr(i), e)
		}
	})
}
