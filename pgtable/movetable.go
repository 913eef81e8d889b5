package pgtable

import "ptemu/arch/x86"

// moveWhole takes the PTE table of s to the slot for to, if it may, and reports whether it did. The entries stay as
// they are, soft-dirty bits too. A slot that has a table already, even an empty one, cannot take another.
//
// Linux: mm/mremap.c:move_normal_pmd()
func (t *Tree) moveWhole(g *Gather, s *PMDSlot, to x86.Virt, o *Move) (bool, error) {
	if !o.Whole || !s.Whole() || uint64(to)%x86.LevelPMD.Size() != 0 {
		return false, nil
	}
	if _, err := t.make(to, x86.LevelPMD); err != nil {
		return false, err
	}
	c, d, err := t.lockTwoPMDs(s.First, to)
	if err != nil {
		return false, &AddrError{to, err}
	}
	defer c.Unlock()
	if c.s != d.s {
		defer d.Unlock()
	}
	i, j := s.First.Index(x86.LevelPMD), to.Index(x86.LevelPMD)
	if !pointsToTable(x86.LevelPMD, c.tab[i]) || usedEntry(d.tab[j]) {
		return false, nil
	}
	_, pfn := c.TakeTable(i)
	d.Populate(j, pfn)
	// Processors may have cached the way to the table, too.
	g.Range(s.Range, x86.LevelPTE)
	g.debt.FreedTables = true
	return true, nil
}

// lockTwoPMDs locks the PMD tables for two addresses, that of the lower one first. They may be the same table.
func (t *Tree) lockTwoPMDs(a, b x86.Virt) (ca, cb PMDCursor, err error) {
	if uint64(a)/x86.LevelPMD.Span() == uint64(b)/x86.LevelPMD.Span() {
		ca, err = t.LockPMDs(a, false)
		return ca, ca, err
	}
	if a > b {
		cb, ca, err = t.lockTwoPMDs(b, a)
		return ca, cb, err
	}
	if ca, err = t.LockPMDs(a, false); err != nil {
		return ca, cb, err
	}
	if cb, err = t.LockPMDs(b, false); err != nil {
		ca.Unlock()
	}
	return ca, cb, err
}
