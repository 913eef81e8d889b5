package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Zapper returns what [pgtable.Tree.Zap] does with huge pages: those that are covered are zapped, of which zapped, if
// not nil, hears; others are split first. h.Cleared hears of 1 GiB leaves, which are emptied whole in either case.
//
// Linux: mm/memory.c:zap_pmd_range(), zap_pud_range()
func (h *Huge) Zapper(g *pgtable.Gather, zapped func(va x86.Virt, old x86.PMD)) pgtable.HugeFunc {
	return func(s pgtable.PMDSlot) (split bool, err error) {
		if s.Level == x86.LevelPUD {
			return false, h.zapPUD(g, s)
		}
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

func (h *Huge) zapPUD(g *pgtable.Gather, s pgtable.PMDSlot) error {
	if !s.Whole() {
		return h.SplitPUD(g, s.First)
	}
	old, err := h.ZapPUD(g, s.First)
	if err == nil {
		h.clearedPUD(s.First, old)
	}
	return err
}

// Mover returns what [pgtable.Tree.Move] does with huge pages: those that are covered and fit their new place are
// moved, others are split first. clearUffd as in [pgtable.Move]. A 1 GiB leaf that cannot be moved whole is emptied.
//
// Linux: mm/mremap.c:move_page_tables()
func (h *Huge) Mover(g *pgtable.Gather, clearUffd bool) func(s pgtable.PMDSlot, to x86.Virt) (split bool, err error) {
	return func(s pgtable.PMDSlot, to x86.Virt) (split bool, err error) {
		fits := s.Whole() && uint64(to)%s.Level.Size() == 0
		switch {
		case s.Level == x86.LevelPUD && fits:
			return false, h.MovePUD(g, s.First, to)
		case s.Level == x86.LevelPUD:
			return false, h.SplitPUD(g, s.First)
		case !fits:
			return true, h.SplitPMD(g, s.First)
		}
		_, err = h.Move(g, s.First, to, clearUffd)
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
