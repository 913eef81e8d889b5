package mm

import (
	"ptemu/arch/x86"
	"ptemu/swapentry"
	"ptemu/thp"
)

// unmapFolio replaces all mappings of the folio by what says where its content is, and reports whether it could. Huge
// mappings are split first. The flush is owed to b.
//
// Linux: mm/rmap.c:try_to_unmap()
func (m *Machine) unmapFolio(c *CPU, b *flushBatch, head x86.PFN) bool {
	ok := true
	if m.pages[head].whole > 0 {
		m.eachMapping(head, false, func(p Mapping) bool {
			if p.Huge {
				ok = m.unmapHuge(c, p, head) && ok
			}
			return true
		})
	}
	for i := range x86.PFN(1) << m.pages[head].order {
		if !ok {
			break
		}
		if m.pages[head+i].mapped == 0 {
			continue
		}
		m.eachMapping(head+i, false, func(p Mapping) bool {
			ok = m.unmapOne(b, p.Place, head+i)
			return ok && m.pages[head+i].mapped > 0
		})
	}
	return ok
}

// unmapHuge drops a lazily freed huge page as a whole if it can, and splits the entry of all others. False: it must stay
// as it is.
//
// Linux: mm/huge_memory.c:unmap_huge_pmd_locked()
func (m *Machine) unmapHuge(c *CPU, p Mapping, head x86.PFN) bool {
	f := &m.pages[head]
	if m.Policy.DiscardsHuge && f.flags&(pgAnon|pgSwapBacked) == pgAnon && p.VMA.flags&VMLocked == 0 {
		d, _ := p.Space.hugePMD(p.VA)
		if d.Dirty(m.abi) {
			f.flags |= pgDirty
		}
		dirty, held := f.flags&pgDirty != 0, f.ref != 1+int32(m.mapcount(head))
		switch {
		case !dirty && !held:
			g := c.gather(p.Space)
			defer g.finish()
			return p.Space.zap(g, p.VMA, span(p.VA&^x86.Virt(x86.LevelPMD.Size()-1), thp.Pages), zapDropMarkers) == nil
		case m.Policy.DiscardOrKeep:
			if dirty {
				f.flags |= pgSwapBacked
			}
			return false
		}
	}
	return c.splitHugePMD(p.VMA, p.VA) == nil
}

// unmapOne replaces the entry at p, which maps page pfn. False: the page must stay mapped, and the entry is as it was.
//
// Linux: mm/rmap.c:try_to_unmap_one()
func (m *Machine) unmapOne(b *flushBatch, p Place, pfn x86.PFN) bool {
	if p.VMA.flags&VMLocked != 0 {
		return false
	}
	c, err := p.Space.tree.LockPTEs(p.VA, false)
	if err != nil {
		return true
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPTE)
	m.mergeUnmapBatch(p.VMA, c, i, pfn)
	old := c.GetAndClear(i)
	b.owe(p.Space)
	f := m.folio(pfn)
	if old.Dirty(m.abi) {
		f.flags |= pgDirty
	}
	if f.flags&pgAnon == 0 {
		if p.VMA.uffdWPs(old) {
			c.Set(i, m.layout.MakePTEMarker(swapentry.MarkerUffdWP))
		}
	} else {
		e, ok := m.unmappedAnon(old, pfn)
		c.Set(i, e)
		if !ok {
			return false
		}
	}
	m.removeMapping(pfn)
	m.put(pfn)
	return true
}

// unmappedAnon returns what takes the place of the entry old, which has been cleared and maps anonymous page pfn. False:
// it must be restored.
func (m *Machine) unmappedAnon(old x86.PTE, pfn x86.PFN) (x86.PTE, bool) {
	f := m.folio(pfn)
	if f.flags&pgSwapBacked == 0 {
		if m.discards(pfn) {
			return 0, true
		}
		return old, false
	}
	if f.flags&pgSwapCache == 0 {
		return old, false
	}
	exclusive := m.exclusive(pfn)
	if exclusive && !m.tryShare(pfn) {
		return old, false
	}
	slot := f.slot + uint64(pfn-m.head(pfn))
	m.swap.take(slot)
	return swapPTE(old, slot, exclusive), true
}

// swapPTE returns the entry that names slot in place of old.
func swapPTE(old x86.PTE, slot uint64, exclusive bool) x86.PTE {
	e := swapentry.MkSwp(0, slot).PTE()
	if exclusive {
		e = swapentry.PTESwpMkExclusive(e)
	}
	if old.SoftDirty() {
		e = swapentry.SwpMkSoftDirty(e)
	}
	if old.UffdWP() {
		e = swapentry.SwpMkUffdWP(e)
	}
	return e
}

// discards reports that a lazily freed page can be dropped: it was not written since, and nobody but its mappings and
// the caller holds it. If it was written, it is an ordinary page again.
func (m *Machine) discards(pfn x86.PFN) bool {
	f := m.folio(pfn)
	held := f.ref != 1+int32(m.mapcount(pfn))
	dirty := f.flags&pgDirty != 0
	if dirty || held && m.Policy.LazyFreeRefsRevive {
		f.flags |= pgSwapBacked
	}
	return !dirty && !held
}
