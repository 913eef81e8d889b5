package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// ClearRefs is what can be written to /proc/pid/clear_refs.
//
// Linux: fs/proc/task_mmu.c:enum clear_refs_types
type ClearRefs uint8

// The values.
const (
	ClearRefsAll       ClearRefs = iota + 1 // A of all pages
	ClearRefsAnon                           // A of areas without a file
	ClearRefsMapped                         // A of areas with one
	ClearRefsSoftDirty                      // soft-dirty of all pages, and of the areas
)

// ClearRefs resets the referenced or soft-dirty state of the space's pages. The CPU makes the call; it may run another
// space.
//
// Linux: fs/proc/task_mmu.c:clear_refs_write()
func (s *Space) ClearRefs(c *CPU, what ClearRefs) error {
	switch {
	case s.exited:
		return &CallError{"clear_refs", 0, ErrSrch}
	case what == ClearRefsSoftDirty:
		return s.clearSoftDirty(c)
	case what == 0 || what > ClearRefsSoftDirty:
		return &CallError{"clear_refs", 0, ErrInval}
	}
	s.writeLock()
	defer s.writeUnlock()
	for _, v := range s.vmas {
		if v.flags&VMPFNMap != 0 || what == ClearRefsAnon && v.file != nil || what == ClearRefsMapped && v.file == nil {
			continue
		}
		if err := s.clearYoung(v); err != nil {
			return err
		}
	}
	return nil
}

// clearYoung makes the pages of v old. Nobody is told: a processor that has one cached may use it without setting A.
//
// Linux: fs/proc/task_mmu.c:clear_refs_pte_range()
func (s *Space) clearYoung(v *VMA) error {
	m := s.m
	return s.tree.EachPMD(v.whole(), false, func(slot pgtable.PMDSlot) error {
		if slot.Level != x86.LevelPMD {
			return nil
		}
		if c, err := slot.LockPTEs(); err == nil {
			first, last := slot.Slots()
			for i := first; i <= last; i++ {
				if pfn, ok := m.normal(c.Get(i)); ok {
					c.TestAndClearYoung(i)
					m.folio(pfn).flags &^= pgReferenced
				}
			}
			c.Unlock()
			return nil
		}
		if !slot.Entry.Present() {
			return nil
		}
		c, err := slot.LockPMDs()
		if err != nil {
			return err
		}
		defer c.Unlock()
		c.TestAndClearYoung(slot.Index())
		if pfn, ok := m.normalPMD(slot.Entry); ok {
			m.folio(pfn).flags &^= pgReferenced
		}
		return nil
	})
}

// clearSoftDirty resets the soft-dirty bits, and write-protects the pages so that the next write is noticed. Everything
// is flushed at the end, once.
func (s *Space) clearSoftDirty(c *CPU) error {
	unlock := s.lockClearRefs()
	defer unlock()
	s.pendingFlush++
	defer func() { s.pendingFlush-- }()
	for _, t := range s.m.tasks {
		s.untracked = s.untracked || t.at == PointMigrating || t.at == PointMigrated
	}
	g := &gather{c: c}
	if s.m.Policy.ClearRefsNoFlush {
		g.Start(s.tree, nil)
	} else {
		g.Start(s.tree, s.m)
		g.Everything()
	}
	defer g.finish()
	for _, v := range s.vmas {
		if v.flags&VMPFNMap != 0 {
			continue
		}
		if err := s.tree.ClearSoftDirty(&g.Gather, v.whole(), v.softDirty(s)); err != nil {
			return err
		}
	}
	return nil
}

// lockClearRefs takes the mmap lock, marks the areas as not soft-dirty, and returns what gives the lock back. Old
// kernels hold it for writing only as long as the areas change.
func (s *Space) lockClearRefs() (unlock func()) {
	s.writeLock()
	for _, v := range s.vmas {
		if v.flags&VMSoftDirty != 0 {
			v.flags &^= VMSoftDirty
			v.setPageProt()
		}
	}
	if !s.m.Policy.ClearRefsShares {
		return s.writeUnlock
	}
	s.writeUnlock()
	s.readLock()
	return s.readUnlock
}

// softDirty says how the soft-dirty bits of v are reset.
func (v *VMA) softDirty(s *Space) *pgtable.SoftDirty {
	o := &pgtable.SoftDirty{Huge: v.huge().SoftDirtyClearer(s.tree)}
	if s.hasPinned && v.cow() && !s.m.Policy.ClearRefsPinned {
		o.Pinned = s.m.sparePinned
	}
	return o
}

// sparePinned takes the pages that a device may write from pages.
//
// Linux: fs/proc/task_mmu.c:pte_is_pinned()
func (m *Machine) sparePinned(c pgtable.PTECursor, pages *pgtable.Bitmap) {
	for i := range pages.All() {
		if pfn, ok := m.normal(c.Get(i)); ok && m.maybePinned(pfn) {
			pages[i/64] &^= 1 << (i % 64)
		}
	}
}
