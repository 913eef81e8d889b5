package mm

import (
	"ptemu/arch/x86"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// splitFolio makes single pages of the large folio at head, to which the caller has one reference; it keeps one to the
// page at head. It fails if others hold the folio.
//
// Linux: mm/huge_memory.c:split_huge_page_to_list_to_order()
func (m *Machine) splitFolio(c *CPU, head x86.PFN) bool {
	f := &m.pages[head]
	if f.ref != 1+int32(m.mapcount(head))+m.cacheRefs(head) {
		return false
	}
	ok := true
	if f.whole > 0 {
		m.eachMapping(head, false, func(p Mapping) bool {
			if p.Huge {
				ok = m.splitForFolio(c, p, f.flags&pgAnon != 0) == nil && ok
			}
			return true
		})
	}
	if !ok || f.ref != 1+int32(m.mapcount(head))+m.cacheRefs(head) {
		m.restoreMigration(head, head)
		return false
	}
	if f.flags&pgAnon != 0 {
		m.unmapForMigration(c, head)
	} else { // faults map the pages again
		b := flushBatch{c: c}
		m.unmapFolio(c, &b, head)
		b.flush()
	}
	if m.mapcount(head) > 0 {
		m.restoreMigration(head, head)
		return false
	}
	n := x86.PFN(1) << f.order
	whole := *f
	whole.order, whole.ref, whole.mapped = 0, 0, 0
	whole.flags &^= pgPartly
	if m.cacheRefs(head) > 0 {
		whole.ref = 1
	}
	for i := range n {
		single := whole
		single.flags = whole.flags&^pgPoison | m.pages[head+i].flags&pgPoison
		single.index += uint64(i)
		if whole.flags&pgSwapCache != 0 {
			single.slot += uint64(i)
		}
		single.ref++ // the caller's, until the page is mapped again
		m.pages[head+i] = single
	}
	m.large--
	for i := range n {
		if whole.flags&pgAnon != 0 && m.Policy.SplitDropsZeros && *m.content(head + i) == (physmem.Frame{}) {
			m.mapZeroInstead(head + i)
		} else {
			m.restoreMigration(head+i, head+i)
		}
	}
	for i := x86.PFN(1); i < n; i++ {
		m.put(head + i)
	}
	return true
}

// mapZeroInstead maps the zero page where migration entries stand for the page at pfn, which is all zeros. Locked areas
// get the page itself.
//
// Linux: mm/migrate.c:try_to_map_unused_to_zeropage()
func (m *Machine) mapZeroInstead(pfn x86.PFN) {
	m.eachMapping(pfn, true, func(p Mapping) bool {
		if p.VMA.flags&VMLocked != 0 {
			m.restorePTE(p, pfn)
			return true
		}
		c, err := p.Space.tree.LockPTEs(p.VA, false)
		if err != nil {
			return true
		}
		defer c.Unlock()
		i := p.VA.Index(x86.LevelPTE)
		e := c.Get(i)
		n := x86.MkPTE(m.abi, m.zero, p.VMA.prot).MkSpecial()
		if swapentry.SwpSoftDirty(e) {
			n = n.MkSoftDirty()
		}
		if swapentry.SwpUffdWP(e) {
			n = n.MkUffdWP(m.abi)
		}
		c.Set(i, n)
		return true
	})
}

// splitForFolio splits the huge entry of a folio that is about to be split itself. That of an anonymous page becomes
// migration entries at once, which keep what the entry says of use and writes.
//
// Linux: mm/rmap.c:try_to_migrate_one() with TTU_SPLIT_HUGE_PMD
func (m *Machine) splitForFolio(c *CPU, p Mapping, anon bool) error {
	if !anon {
		return c.splitHugePMD(p.VMA, p.VA)
	}
	h := p.VMA.huge()
	r, err := h.Area.Split(p.Space.tree, p.VA, h.Page, true)
	if err == nil && r.Split {
		m.split(p.VMA, r)
	}
	return err
}
