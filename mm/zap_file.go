package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// zapFilePages is zap for what goes because the file has lost pages: private copies of them stay.
//
// Linux: mm/memory.c:zap_pte_range(), should_zap_folio()
func (s *Space) zapFilePages(g *gather, v *VMA, r pgtable.Range, z *pgtable.Zap) error {
	if v.anon == nil {
		return s.tree.Zap(&g.Gather, r, z) // no copies
	}
	return s.tree.EachPMD(r, false, func(slot pgtable.PMDSlot) error {
		for {
			c, err := slot.LockPTEs()
			if err == nil {
				s.zapFileTable(g, c, slot, z)
				c.Unlock()
				return nil
			}
			if err == pgtable.ErrNoTable {
				return nil
			}
			if split, err := z.Huge(slot); err != nil || !split {
				return err
			}
		}
	})
}

// zapFileTable does the part of one table.
func (s *Space) zapFileTable(g *gather, c pgtable.PTECursor, slot pgtable.PMDSlot, z *pgtable.Zap) {
	first, last := slot.Slots()
	for i := first; i <= last; i++ {
		e := c.Get(i)
		switch {
		case e.None():
		case !e.Present():
			c.Set(i, z.Other(c.Addr(i), e))
		case !s.m.privateCopy(e):
			c.Clear(i)
			g.PTEs(c, i, i)
			s.m.zapped(g, e)
			if e.UffdWP() {
				c.Set(i, z.Marker)
			}
		}
	}
}

// privateCopy reports that e maps an anonymous page.
func (m *Machine) privateCopy(e x86.PTE) bool {
	pfn, ok := m.normal(e)
	return ok && m.anonPage(pfn)
}
