package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Map puts the huge entry e (a leaf, a migration or device-private entry) in the empty slot at va, with a deposited
// table where the kernel keeps one. The error is, or wraps, ErrOccupied or physmem.ErrNoMemory.
//
// Linux: mm/huge_memory.c:map_anon_folio_pmd(), set_huge_zero_folio(), copy_huge_pmd()
func (v *Area) Map(t *pgtable.Tree, va x86.Virt, e x86.PMD) error {
	var table x86.PFN
	if v.deposits(e) {
		var err error
		if table, err = t.AllocTable(); err != nil {
			return &Error{VA: va, PMD: e, Err: err}
		}
	}
	err := v.mapWith(t, va, e, table)
	if err != nil && v.deposits(e) {
		t.FreeTable(table)
	}
	return err
}

func (v *Area) mapWith(t *pgtable.Tree, va x86.Virt, e x86.PMD, table x86.PFN) error {
	c, err := t.LockPMDs(va, true)
	if err != nil {
		return &Error{VA: va, PMD: e, Err: err}
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPMD)
	if old := c.Get(i); !old.None() {
		return &Error{VA: va, PMD: old, Err: ErrOccupied}
	}
	if v.deposits(e) {
		c.Deposit(table)
	}
	c.Set(i, e)
	return nil
}

// Zap empties the slot at va, which holds something huge, and returns what was there: its D and A belong to the page.
// The flush is owed to g; a deposited table is freed.
//
// Linux: mm/huge_memory.c:zap_huge_pmd()
func (v *Area) Zap(g *pgtable.Gather, va x86.Virt) (old x86.PMD, err error) {
	t := g.Tree()
	c, err := t.LockPMDs(va, false)
	if err != nil {
		return 0, &Error{VA: va, Err: err}
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPMD)
	old = c.Get(i)
	if !hugeEntry(old) {
		return 0, &Error{VA: va, PMD: old, Err: ErrNotHuge}
	}
	if v.deposits(old) {
		table, ok := c.Withdraw()
		if !ok {
			return 0, &Error{VA: va, PMD: old, Err: ErrNoDeposit}
		}
		defer t.FreeTable(table)
	}
	c.GetAndClear(i)
	g.Range(span(va), x86.LevelPMD)
	return old, nil
}

// Move takes the huge entry at from to the empty slot at to, as mremap() does: it becomes soft-dirty, and with clearWP
// (the area has userfaultfd without UFFD_FEATURE_EVENT_REMAP) loses its uffd-wp bit. It reports whether processors must
// be told; the flush is then owed to g.
//
// Linux: mm/huge_memory.c:move_huge_pmd()
func (v *Area) Move(g *pgtable.Gather, from, to x86.Virt, clearWP bool) (flush bool, err error) {
	t := g.Tree()
	c, err := t.LockPMDs(from, false)
	if err != nil {
		return false, &Error{VA: from, Err: err}
	}
	i := from.Index(x86.LevelPMD)
	e := c.Get(i)
	if !hugeEntry(e) {
		c.Unlock()
		return false, &Error{VA: from, PMD: e, Err: ErrNotHuge}
	}
	var table x86.PFN
	if v.deposits(e) {
		var ok bool
		if table, ok = c.Withdraw(); !ok {
			c.Unlock()
			return false, &Error{VA: from, PMD: e, Err: ErrNoDeposit}
		}
	}
	c.GetAndClear(i)
	c.Unlock()
	if err := v.mapWith(t, to, v.MovedPMD(e, clearWP), table); err != nil {
		return false, v.restore(t, from, e, table, err)
	}
	if e.Present() {
		g.Range(span(from), x86.LevelPMD)
	}
	return e.Present(), nil
}

// restore puts e back after a failed move, and returns why that failed.
func (v *Area) restore(t *pgtable.Tree, va x86.Virt, e x86.PMD, table x86.PFN, why error) error {
	if err := v.mapWith(t, va, e, table); err != nil {
		return err
	}
	return why
}
