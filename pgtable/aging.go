package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// A PagesFunc is told, under the lock, which pages of a table an operation found. It may use up the bitmap.
type PagesFunc func(c PTECursor, pages *Bitmap)

// harvest takes the bits that h says away from the pages of r, and owes to g (or nil) the flush of those that lose one.
// It hands the pages that h reports to found, which may be nil; with spared, only those that lose nothing.
func (t *Tree) harvest(g *Gather, r Range, h *x86.PTEHarvest, spared bool, found PagesFunc, huge HugeFunc) (int, error) {
	n := 0
	err := t.eachPTEs(r, huge, func(c locked) error {
		res := &c.harvested
		ptescan.Harvest(h, (*ptescan.Table)(c.tab), c.first, c.last, res)
		if a, b := enclose(&res.Changed); g != nil && a <= b {
			g.PTEs(c.PTECursor, a, b)
		}
		if spared {
			for w := range res.Found {
				res.Found[w] &^= res.Changed[w]
			}
		}
		n += res.Found.Len()
		if found != nil && !res.Found.Empty() {
			found(c.PTECursor, &res.Found)
		}
		return nil
	})
	return n, err
}

// Young finds the pages of r that have A set, and with clear makes them old. It returns how many they are, and hands
// them to found, which may be nil, when it is done with them. Nothing is flushed or owed: a processor that has cached a
// page does not set A again before it forgets it, which page aging puts up with.
//
// Linux: mm/vmscan.c:walk_pte_range() (MGLRU), mm/damon/vaddr.c:damon_mkold_pmd_entry(), damon_young_pmd_entry()
func (t *Tree) Young(r Range, clear bool, found PagesFunc, huge HugeFunc) (int, error) {
	h := t.abi.HarvestYoung()
	if !clear {
		h.Clear = 0
	}
	return t.harvest(nil, r, &h, false, found, huge)
}

// MkYoung sets A in the pages of r.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_mkyoung()
func (t *Tree) MkYoung(r Range, huge HugeFunc) error {
	change := ptescan.NewChange(t.abi.ChangeMkYoung(), nil, ptescan.Exclusive{})
	var done ptescan.Changed
	return t.eachPTEs(r, huge, func(c locked) error {
		change.Apply((*ptescan.Table)(c.tab), c.first, c.last, nil, (*ptescan.Table)(c.next), &done)
		return nil
	})
}

// Idle makes the pages of r old and hands those that were old already to found: nobody has used them since the last
// time. It returns how many they are.
//
// Linux: mm/page_idle.c:page_idle_clear_pte_refs_one()
func (t *Tree) Idle(r Range, found PagesFunc, huge HugeFunc) (int, error) {
	h := t.abi.HarvestYoung()
	h.Report = h.Exists // every page
	return t.harvest(nil, r, &h, true, found, huge)
}

// Dirty finds the dirty pages of r, returns how many they are and hands them to found, which may be nil. It changes
// nothing.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_dirty()
func (t *Tree) Dirty(r Range, found PagesFunc, huge HugeFunc) (int, error) {
	h := t.abi.HarvestDirty()
	h.Clear = 0
	return t.harvest(nil, r, &h, false, found, huge)
}

// MkClean makes the pages of r that are dirty or writable clean and read-only, as before they are written back, and
// owes their flush to g. It returns how many were dirty and hands these to found, which may be nil, when it is done
// with them. Soft-dirty bits stay.
//
// Linux: mm/rmap.c:page_vma_mkclean_one()
func (t *Tree) MkClean(g *Gather, r Range, found PagesFunc, huge HugeFunc) (int, error) {
	h := t.abi.HarvestDirty()
	return t.harvest(g, r, &h, false, found, huge)
}
