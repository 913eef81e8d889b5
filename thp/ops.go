package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Zapper returns what [pgtable.Tree.Zap] does with huge pages: those that are covered are zapped, of which zapped, if
// not nil, hears; others are split first.
//
// Linux: mm/memory.c:zap_pmd_range()
func (h *Huge) Zapper(g *pgtable.Gather, zapped func(va x86.Virt, old x86.PMD)) pgtable.HugeFunc {
	return func(s pgtable.PMDSlot) (split bool, err error) {
		if !s.Whole() {
			return true, h.SplitPMD(g, s.First)
		}
		old, err := h.Zap(g, s.First)
		if err == nil && zapped != nil {
			zapped(s.First, old)
		}
		return false, err
	}
}

// SoftDirtyClearer returns what [pgtable.Tree.ClearSoftDirty] does with huge pages. Processors are told at once.
//
// Linux: fs/proc/task_mmu.c:clear_soft_dirty_pmd()
func (h *Huge) SoftDirtyClearer(t *pgtable.Tree) pgtable.HugeFunc {
	return func(s pgtable.PMDSlot) (split bool, err error) {
		c, err := s.LockPMDs()
		if err != nil {
			return false, &Error{VA: s.First, Err: err}
		}
		defer c.Unlock()
		i := s.Index()
		e := c.Get(i)
		if !hugeEntry(e) {
			return true, nil
		}
		if e.Present() {
			e = c.InvalidateAD(i)
			h.flush(t, s.First, x86.LevelPMD)
		}
		c.Set(i, h.ClearSoftDirtyPMD(e))
		return false, nil
	}
}
