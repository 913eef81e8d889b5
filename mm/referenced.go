package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// referenced reports that an entry that maps the folio has been used, and makes all of them old.
//
// Linux: mm/vmscan.c:folio_check_references(); mm/rmap.c:folio_referenced_one()
func (m *Machine) referenced(head x86.PFN) (used bool) {
	for i := range x86.PFN(1) << m.pages[head].order {
		m.eachMapping(head+i, false, func(p Mapping) bool {
			switch {
			case !p.Huge:
				used = m.agePTE(p) || used
			case i == 0:
				used = m.agePMD(p) || used
			}
			return true
		})
	}
	return used
}

// agePTE is ptep_clear_flush_young(), which does not flush on x86.
func (m *Machine) agePTE(p Mapping) bool {
	c, err := p.Space.tree.LockPTEs(p.VA, false)
	if err != nil {
		return false
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPTE)
	e := c.Get(i)
	if e.Young() {
		c.Set(i, e.MkOld())
	}
	return e.Young()
}

// agePMD is pmdp_clear_flush_young(), which does flush.
func (m *Machine) agePMD(p Mapping) bool {
	c, err := p.Space.tree.LockPMDs(p.VA, false)
	if err != nil {
		return false
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPMD)
	e := c.Get(i)
	if e.Young() {
		c.Set(i, e.MkOld())
		first := p.VA &^ x86.Virt(x86.LevelPMD.Size()-1)
		m.FlushTLB(p.Space.tree, pgtable.Flush{Range: span(first, x86.EntriesPerTable), Levels: 1 << x86.LevelPMD})
	}
	return e.Young()
}
