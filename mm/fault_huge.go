package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/thp"
)

// handleHuge handles a fault at the level of PMDs, and reports whether that was all. If not, the PTE level goes on.
//
// Linux: mm/memory.c:__handle_mm_fault()
func (f *fault) handleHuge() (done bool, err error) {
	e, huge := f.s.hugePMD(f.va)
	switch {
	case !huge:
		if !f.v.hugeAllowed(f.va) || !f.pmdNone() {
			return false, nil
		}
		return f.hugeFirstTouch()
	case !e.Present():
		if f.m.layout.PMDMigration(e) {
			return true, f.waitMigration(func() bool { now, _ := f.s.hugePMD(f.va); return now != e })
		}
		return true, f.bus() // device-private memory without a driver
	case e.Protnone() && f.v.flags&vmAccess != 0:
		return true, f.hugeNUMA(e)
	case f.flags&(faultWrite|faultUnshare) != 0 && !e.Write(f.m.abi):
		return f.hugeWrite(e)
	}
	return true, f.touchPMD(e)
}

// pmdNone reports that nothing is in the slot of the PMD table.
func (f *fault) pmdNone() bool {
	c, err := f.s.tree.LockPMDs(f.va, true)
	if err != nil {
		return false
	}
	defer c.Unlock()
	return c.Get(f.va.Index(x86.LevelPMD)).None()
}

// base returns the first address of the 2 MiB.
func (f *fault) base() x86.Virt { return f.va &^ x86.Virt(x86.LevelPMD.Size()-1) }

// hugeFirstTouch maps a huge page, or the huge zero page, in an empty slot.
//
// Linux: mm/huge_memory.c:do_huge_pmd_anonymous_page()
func (f *fault) hugeFirstTouch() (done bool, err error) {
	f.v.prepareAnon() // before userfaultfd is asked
	if f.flags&faultWrite == 0 {
		if _, ok := f.m.hugeZero(); ok {
			if f.v.flags&VMUffdMissing != 0 {
				return true, f.userfault(false)
			}
			a := f.v.area()
			return true, f.mapHuge(a, a.ZeroLeaf())
		}
	}
	pfn, err := f.m.alloc(hugeOrder)
	if err != nil {
		return false, nil // small pages will do
	}
	if f.v.flags&VMUffdMissing != 0 {
		f.m.put(pfn)
		return true, f.userfault(false)
	}
	if err := f.mapHuge(f.v.area(), f.newHuge(pfn)); err != nil {
		f.m.put(pfn)
		return true, err
	}
	f.m.addHugeAnon(pfn, f.v, f.base())
	return true, nil
}

// newHuge is the entry of a new huge page.
func (f *fault) newHuge(pfn x86.PFN) x86.PMD {
	return f.m.mkWritePMD(f.v, f.va, f.v.area().Leaf(pfn).MkDirty(f.m.abi), GainFault)
}

func (f *fault) mapHuge(a *thp.Area, e x86.PMD) error {
	if err := a.Map(f.s.tree, f.base(), e); err != nil {
		return f.oom()
	}
	return nil
}

// addHugeAnon makes the new huge page at pfn an anonymous one of v, mapped as a whole at va, and exclusive. The caller's
// reference becomes that of the mapping.
func (m *Machine) addHugeAnon(pfn x86.PFN, v *VMA, va x86.Virt) {
	f := &m.pages[pfn]
	f.flags |= pgAnon | pgSwapBacked
	f.anon, f.index = v.anon, v.index(va)
	f.whole = 1
	m.setExclusive(pfn, true)
}

// relockPMD locks the PMD table if the entry still is e.
func (f *fault) relockPMD(e x86.PMD) (pgtable.PMDCursor, bool) {
	c, err := f.s.tree.LockPMDs(f.va, false)
	if err != nil {
		return c, false
	}
	if c.Get(f.va.Index(x86.LevelPMD)) != e {
		c.Unlock()
		return c, false
	}
	return c, true
}

// touchPMD is huge_pmd_set_accessed().
func (f *fault) touchPMD(e x86.PMD) error {
	if c, ok := f.relockPMD(e); ok {
		n := e.MkYoung()
		if f.flags&faultWrite != 0 {
			n = n.MkDirty(f.m.abi)
		}
		c.SetAccessFlags(f.va.Index(x86.LevelPMD), n, f.flags&faultWrite != 0)
		c.Unlock()
	}
	return nil
}

// hugeWrite handles a write to a huge page that is mapped read-only.
//
// Linux: mm/memory.c:wp_huge_pmd(), mm/huge_memory.c:do_huge_pmd_wp_page()
func (f *fault) hugeWrite(e x86.PMD) (done bool, err error) {
	unshare := f.flags&faultUnshare != 0
	if !f.v.Anonymous() {
		return false, f.c.splitHugePMD(f.v, f.va)
	}
	if !unshare && f.v.flags&VMUffdWP != 0 && e.UffdWP() {
		if !f.v.uffd.wpAsync() {
			return true, f.userfault(true)
		}
		return false, f.c.splitHugePMD(f.v, f.va)
	}
	head, normal := f.m.normalPMD(e)
	switch {
	case !normal && !unshare && f.m.Policy.HugeZeroWPAllocs:
		if done, err := f.hugeZeroWrite(e); done || err != nil {
			return done, err
		}
	case normal && (f.m.exclusive(head) || f.m.Policy.Reuse == ReuseExclusive && f.m.soleOwnerHuge(head)):
		f.takeHuge(head)
		if unshare {
			return true, nil
		}
		return true, f.hugeReuse(e)
	}
	return false, f.c.splitHugePMD(f.v, f.va)
}

// soleOwnerHuge reports that the PMD at hand has the only reference, once the swap cache has given up its own.
func (m *Machine) soleOwnerHuge(head x86.PFN) bool {
	f := &m.pages[head]
	if f.ref > 1+m.cacheRefs(head) {
		return false
	}
	if f.flags&pgSwapCache != 0 {
		m.freeSwapCache(head)
	}
	return f.ref == 1
}

// takeHuge makes the huge page one of this area alone. Linux: mm/rmap.c:folio_move_anon_rmap()
func (f *fault) takeHuge(head x86.PFN) {
	f.v.prepareAnon()
	f.m.pages[head].anon = f.v.anon
	f.m.setExclusive(head, true)
}

func (f *fault) hugeReuse(e x86.PMD) error {
	c, ok := f.relockPMD(e)
	if !ok {
		return nil
	}
	defer c.Unlock()
	n := f.m.mkWritePMD(f.v, f.va, e.MkYoung().MkDirty(f.m.abi), GainReuse)
	c.SetAccessFlags(f.va.Index(x86.LevelPMD), n, true)
	return nil
}

// hugeZeroWrite puts a huge page in the place of the huge zero page.
//
// Linux: mm/huge_memory.c:do_huge_zero_wp_pmd()
func (f *fault) hugeZeroWrite(e x86.PMD) (done bool, err error) {
	pfn, err := f.m.alloc(hugeOrder)
	if err != nil {
		return false, nil
	}
	c, ok := f.relockPMD(e)
	if !ok {
		f.m.put(pfn)
		return true, nil
	}
	defer c.Unlock()
	f.v.prepareAnon()
	i := f.va.Index(x86.LevelPMD)
	c.GetAndClear(i)
	f.m.FlushTLB(f.s.tree, pgtable.Flush{Range: span(f.base(), thp.Pages), Levels: 1 << x86.LevelPMD})
	c.Set(i, f.newHuge(pfn))
	f.m.addHugeAnon(pfn, f.v, f.base())
	return true, nil
}

// hugeNUMA handles an access to a huge page that a NUMA hint made inaccessible.
//
// Linux: mm/huge_memory.c:do_huge_pmd_numa_page()
func (f *fault) hugeNUMA(e x86.PMD) error {
	upgrade := true
	if head, ok := f.m.normalPMD(e); ok && f.misplaced(head) {
		if f.m.migrate(f.c, head, f.c.node()) == nil {
			return nil
		}
		upgrade = false
	}
	c, ok := f.relockPMD(e)
	if !ok {
		return nil
	}
	defer c.Unlock()
	n := e.Modify(f.m.abi, f.v.prot).MkYoung()
	if f.mayWritePMD(e, n, upgrade) {
		n = f.m.mkWritePMD(f.v, f.va, n, GainNUMA)
	}
	c.Set(f.va.Index(x86.LevelPMD), n)
	return nil
}

func (f *fault) mayWritePMD(e, n x86.PMD, upgrade bool) bool {
	if f.m.Policy.NUMAKeepsWrite {
		return e.Write(f.m.abi)
	}
	return upgrade && (n.Write(f.m.abi) || f.v.wantsUpgrade() && f.m.mayUpgradePMD(f.v, n))
}
