package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// node returns the NUMA node of the processor.
func (c *CPU) node() int { return c.id * c.m.cfg.Nodes / len(c.m.cpus) }

// NUMAHint makes pages of length bytes from va on inaccessible, so that the next access tells who uses them. It returns
// the number of entries that the kernel counts.
//
// Linux: mm/mempolicy.c:change_prot_numa(), kernel/sched/fair.c:task_numa_work()
func (c *CPU) NUMAHint(va x86.Virt, length uint64) (int64, error) {
	s := c.space
	r, err := s.checkPages("numa hint", va, length)
	if err != nil {
		return 0, err
	}
	s.readLock()
	defer s.readUnlock()
	n := int64(0)
	err = s.eachVMA(r, func(v *VMA, part pgtable.Range) error {
		if v.flags&vmAccess == 0 || v.flags&VMPFNMap != 0 || v.file != nil && v.flags&(x86.VMRead|x86.VMWrite) == x86.VMRead {
			return nil
		}
		g := c.gather(s)
		defer g.finish()
		changed, err := s.changeProtection(g, v, part, x86.ProtNone, x86.ChangeNUMA)
		n += changed
		return err
	})
	return n, err
}

// numaSkips reports that a hint leaves the page of e alone; node is that of the CPU if the space runs nowhere else, or
// -1.
//
// Linux: mm/mprotect.c:folio_can_map_prot_numa()
func (v *VMA) numaSkips(e x86.PTE, node int) bool {
	m := v.space.m
	pfn, ok := m.normal(e)
	if !ok {
		return true
	}
	f := m.folio(pfn)
	switch {
	case f.flags&pgKSM != 0:
		return true
	case v.cow() && m.numaShared(pfn):
		return true
	case m.Policy.NUMASkipPinned && m.maybePinned(pfn):
		return true
	case f.flags&(pgSwapBacked|pgDirty) == pgDirty:
		return true
	}
	return node >= 0 && !v.shared() && int(f.node) == node
}

// numaShared reports that others use the page too, as far as the release can tell.
func (m *Machine) numaShared(pfn x86.PFN) bool {
	head := m.head(pfn)
	switch m.Policy.NUMASharing {
	case NUMASharingCount:
		return m.folio(pfn).ref != 1
	case NUMASharingPinned:
		return m.maybePinned(pfn) || m.likelyShared(head)
	}
	return m.sharedMapcount(head)
}

// likelyShared is folio_likely_mapped_shared().
func (m *Machine) likelyShared(head x86.PFN) bool {
	f, n := &m.pages[head], m.mapcount(head)
	switch {
	case n <= 1:
		return false
	case f.order == 0, f.whole > 0, n > 1<<f.order:
		return true
	}
	return f.mapped > 1
}

// soleNode returns the node of the only CPU that runs the space, -1 if it is not the only one.
func (c *CPU) soleNode(s *Space) int {
	for _, o := range c.m.cpus {
		if o != c && o.space == s {
			return -1
		}
	}
	return c.node()
}

// numaHint handles an access to a page that a hint made inaccessible.
//
// Linux: mm/memory.c:do_numa_page()
func (f *fault) numaHint() error {
	if pfn, ok := f.m.normal(f.orig); ok && f.misplaced(pfn) {
		if f.m.migrate(f.c, f.m.head(pfn), f.c.node()) == nil {
			return nil
		}
		return f.numaRebuild(false)
	}
	return f.numaRebuild(true)
}

// misplaced reports that the page should move to the node of the CPU.
//
// Linux: mm/memory.c:numa_migrate_check(), mm/migrate.c:migrate_misplaced_folio_prepare()
func (f *fault) misplaced(pfn x86.PFN) bool {
	folio := f.m.folio(pfn)
	if int(folio.node) == f.c.node() {
		return false
	}
	file := folio.flags&pgSwapBacked == 0
	return !(file && f.v.flags&x86.VMExec != 0 && f.m.sharedMapcount(pfn)) && !(file && folio.flags&pgDirty != 0)
}

// numaRebuild makes the entry accessible again, and with it those of its large folio where the release does so. upgrade
// says whether it may gain the write bit that it had or could have.
//
// Linux: mm/memory.c:numa_rebuild_single_mapping(), numa_rebuild_large_mapping()
func (f *fault) numaRebuild(upgrade bool) error {
	c, ok := f.relock()
	if !ok {
		return nil
	}
	defer c.Unlock()
	first, last := f.slot(), f.slot()
	pfn, normal := f.m.normal(f.orig)
	large := normal && f.m.folio(pfn).order > 0 && f.m.Policy.NUMAWholeFolio
	if large {
		head := f.m.head(pfn)
		before, after := int(pfn-head), f.m.folioSize(pfn)-1-int(pfn-head)
		first = max(first-before, c.VA().Index(x86.LevelPTE), f.slotOf(f.v.Start))
		last = min(last+after, f.lastSlot())
	}
	for i := first; i <= last; i++ {
		e := c.Get(i)
		if got, ok := f.m.normal(e); large && (!ok || !e.Protnone() || f.m.head(got) != f.m.head(pfn)) {
			continue
		}
		c.Set(i, f.numaRebuilt(c.Addr(i), e, upgrade))
	}
	return nil
}

// slotOf returns the slot of va in the table at hand, or 0 if it lies before.
func (f *fault) slotOf(va x86.Virt) int {
	if va>>x86.LevelPMD.Shift() != f.va>>x86.LevelPMD.Shift() {
		return 0
	}
	return va.Index(x86.LevelPTE)
}

// lastSlot returns the last slot of the table at hand that belongs to the area.
func (f *fault) lastSlot() int {
	if (f.v.End-1)>>x86.LevelPMD.Shift() != f.va>>x86.LevelPMD.Shift() {
		return x86.EntriesPerTable - 1
	}
	return (f.v.End - 1).Index(x86.LevelPTE)
}

func (f *fault) numaRebuilt(va x86.Virt, e x86.PTE, upgrade bool) x86.PTE {
	m := f.m
	n := e.Modify(m.abi, f.v.prot).MkYoung()
	if m.Policy.NUMAKeepsWrite {
		if e.Write(m.abi) {
			return m.mkWrite(f.v, va, n, GainNUMA)
		}
		return n
	}
	if upgrade && (n.Write(m.abi) || f.v.wantsUpgrade() && m.mayUpgrade(f.v, n)) {
		return m.mkWrite(f.v, va, n, GainNUMA)
	}
	return n
}
