package mm

import (
	"ptemu/arch/x86"
	"ptemu/swapentry"
	"ptemu/thp"
)

// MovePages moves the pages at vas of the space that the CPU runs to a NUMA node. The result says for each what became
// of it: nil if it is there now, ErrNoEnt if no page is mapped, ErrAccess if others map it too and all is false, ErrBusy
// if somebody holds it, ErrFault if there is no area.
//
// Linux: mm/migrate.c:do_pages_move()
func (c *CPU) MovePages(vas []x86.Virt, node int, all bool) []error {
	errs := make([]error, len(vas))
	for i, va := range vas {
		if errs[i] = c.movePage(va, node, all); errs[i] != nil {
			errs[i] = &CallError{"move_pages", va, errs[i]}
		}
	}
	return errs
}

// movePage is add_folio_for_migration() and the migration of that folio.
func (c *CPU) movePage(va x86.Virt, node int, all bool) error {
	s, m := c.space, c.m
	if node < 0 || node >= m.cfg.Nodes {
		return ErrInval
	}
	s.readLock()
	v := s.VMA(va)
	pfn, ok := s.mappedAt(pageOf(va))
	s.readUnlock()
	switch {
	case v == nil:
		return ErrFault
	case !ok && (s.zeroAt(pageOf(va)) && m.Policy.seesProtnone(s, va) || v.Anonymous() && m.Policy.MoveEmptyFaults && s.emptyAt(pageOf(va))):
		return ErrFault
	case !ok:
		return ErrNoEnt
	case int(m.folio(pfn).node) == node:
		return nil
	case !all && m.sharedMapcount(pfn):
		return ErrAccess
	}
	return m.migrate(c, m.head(pfn), node)
}

// seesProtnone reports that move_pages looks at the page at va, whatever the access rights.
func (p *Policy) seesProtnone(s *Space, va x86.Virt) bool {
	if d, huge := s.hugePMD(va); huge {
		return p.MovesProtnone || !d.Protnone()
	}
	return p.MovesProtnone || !s.pte(va).Protnone()
}

// mappedAt returns the page that is mapped at va, whatever the access rights.
//
// Linux: mm/gup.c:follow_page(), which does not see PROT_NONE pages until 6.12: see MovesProtnone
func (s *Space) mappedAt(va x86.Virt) (x86.PFN, bool) {
	if d, huge := s.hugePMD(va); huge {
		head, ok := s.m.normalPMD(d)
		return head + x86.PFN(va.Index(x86.LevelPTE)), ok && (!d.Protnone() || s.m.Policy.MovesProtnone)
	}
	e := s.pte(va)
	pfn, ok := s.m.normal(e)
	return pfn, ok && (!e.Protnone() || s.m.Policy.MovesProtnone)
}

// emptyAt reports that nothing at all is at va, or a huge page that is inaccessible: the walk ends there.
//
// Linux: mm/gup.c:no_page_table()
func (s *Space) emptyAt(va x86.Virt) bool {
	if d, huge := s.hugePMD(va); huge {
		return d.Present() && d.Protnone()
	}
	return s.pte(va).None()
}

// zeroAt reports that a zero page is mapped at va.
func (s *Space) zeroAt(va x86.Virt) bool {
	if d, huge := s.hugePMD(va); huge {
		return d.Present() && d.PFN(s.m.abi) == s.m.huge
	}
	e := s.pte(va)
	return e.Present() && e.PFN(s.m.abi) == s.m.zero
}

// sharedMapcount reports that page pfn, or its folio, is mapped more than once as far as the kernel knows.
//
// Linux: until 6.8 page_mapcount(), then folio_likely_mapped_shared(), folio_maybe_mapped_shared()
func (m *Machine) sharedMapcount(pfn x86.PFN) bool {
	head := m.head(pfn)
	if m.pages[head].order == 0 || m.Policy.Sharing == SharingPage {
		return m.pages[pfn].mapped+m.pages[head].whole > 1
	}
	return m.sharedMappings(head)
}

// migrate moves the folio at head to a new folio on a node. While it is under way, migration entries stand for its
// mappings.
//
// Linux: mm/migrate.c:migrate_folio_unmap(), migrate_folio_move()
func (m *Machine) migrate(c *CPU, head x86.PFN, node int) error {
	src := &m.pages[head]
	if src.flags&pgLocked != 0 {
		return ErrBusy
	}
	if m.Policy.SplitsPartlyMapped && src.flags&pgPartly != 0 && m.migrateParts(c, head, node) {
		return nil
	}
	old := m.node
	m.node = node
	to, err := m.alloc(src.order)
	m.node = old
	if err != nil {
		return ErrNoMem
	}
	m.get(head) // isolated
	src.flags |= pgLocked
	defer func() {
		src.flags &^= pgLocked
		m.pages[to].flags &^= pgLocked
	}()
	m.unmapForMigration(c, head)
	c.point(PointMigrating)
	if m.mapcount(head) > 0 || src.ref != 1+m.cacheRefs(head) {
		m.restoreMigration(head, head)
		m.put(head)
		m.put(to)
		return ErrBusy
	}
	for i := range x86.PFN(1) << src.order {
		*m.content(to + i) = *m.content(head + i)
	}
	c.point(PointMigrated)
	m.transfer(head, to)
	m.restoreMigration(head, to)
	src.anon, src.file, src.index, src.slot = nil, nil, 0, 0
	src.flags &^= pgAnon | pgKSM
	src.ksm = nil
	m.put(head)
	m.put(to)
	return nil
}

// migrateParts splits the folio and migrates its pages one by one, as far as that goes: nobody is told about those that
// stay. False: it cannot be split.
//
// Linux: mm/migrate.c:migrate_pages_batch(), try_split_folio()
func (m *Machine) migrateParts(c *CPU, head x86.PFN, node int) bool {
	n := x86.PFN(1) << m.pages[head].order
	m.get(head)
	if !m.splitFolio(c, head) {
		m.put(head)
		return false
	}
	var parts []x86.PFN
	for i := range n {
		if f := &m.pages[head+i]; f.ref > 0 && f.flags&pgTail == 0 && m.mapcount(head+i) > 0 {
			parts = append(parts, head+i)
		}
	}
	m.put(head)
	for _, part := range parts {
		_ = m.migrate(c, part, node)
	}
	return true
}

// cacheRefs returns the references that caches hold to the folio.
func (m *Machine) cacheRefs(head x86.PFN) int32 {
	f := &m.pages[head]
	if f.flags&pgSwapCache != 0 || f.file != nil {
		return 1 << f.order
	}
	return 0
}

// transfer makes to what the folio at head was: in its caches, with its marks.
//
// Linux: mm/migrate.c:folio_migrate_mapping(), folio_migrate_flags()
func (m *Machine) transfer(head, to x86.PFN) {
	src, dst := &m.pages[head], &m.pages[to]
	n := m.cacheRefs(head)
	dst.flags = src.flags
	dst.anon, dst.file, dst.index, dst.slot, dst.ksm = src.anon, src.file, src.index, src.slot, src.ksm
	if src.file != nil {
		for i := range x86.PFN(1) << src.order {
			src.file.cache[src.index+uint64(i)] = to + i
		}
	}
	if src.flags&pgSwapCache != 0 {
		m.swap.moved(head, to, src.order)
	}
	src.ref -= n
	dst.ref += n
	src.flags &^= pgSwapCache | pgDirty
	m.movedKSM(head, to)
}

// unmapForMigration replaces the mappings of the folio by migration entries. Mappings that it cannot replace stay.
//
// Linux: mm/rmap.c:try_to_migrate()
func (m *Machine) unmapForMigration(c *CPU, head x86.PFN) {
	m.eachInAreas(head, func(p Mapping, pfn x86.PFN) {
		switch {
		case !p.Huge:
			m.migratePTE(p, pfn)
		case pfn == head:
			m.migratePMD(p, head)
		}
	})
}

// migratePTE is try_to_migrate_one().
func (m *Machine) migratePTE(p Mapping, pfn x86.PFN) {
	c, err := p.Space.tree.LockPTEs(p.VA, false)
	if err != nil {
		return
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPTE)
	old := c.Get(i)
	anon, excl := m.anonPage(pfn), m.exclusive(pfn)
	c.Clear(i)
	p.Space.flushPage(p.VA)
	if old.Dirty(m.abi) {
		m.folio(pfn).flags |= pgDirty
	}
	switch {
	case m.pages[pfn].flags&pgPoison != 0:
		c.Set(i, m.layout.MakeHWPoisonEntry(pfn).PTE())
	case anon && excl && !m.tryShare(pfn):
		c.Set(i, old)
		return
	default:
		c.Set(i, m.migrationEntry(old, pfn, anon && excl))
	}
	m.removeMapping(pfn)
	m.put(pfn)
}

// migrationEntry is the entry that stands for old while its page migrates.
func (m *Machine) migrationEntry(old x86.PTE, pfn x86.PFN, exclusive bool) x86.PTE {
	l := m.layout
	s := l.MakeReadableMigrationEntry(pfn)
	switch {
	case old.Write(m.abi):
		s = l.MakeWritableMigrationEntry(pfn)
	case exclusive:
		s = l.MakeReadableExclusiveMigrationEntry(pfn)
	}
	if old.Young() {
		s = l.MakeMigrationEntryYoung(s)
	}
	if old.Dirty(m.abi) {
		s = l.MakeMigrationEntryDirty(s)
	}
	e := s.PTE()
	if old.SoftDirty() {
		e = swapentry.SwpMkSoftDirty(e)
	}
	if old.UffdWP() {
		e = swapentry.SwpMkUffdWP(e)
	}
	return e
}

// migratePMD is set_pmd_migration_entry().
func (m *Machine) migratePMD(p Mapping, head x86.PFN) {
	page := m.thpPage(head)
	old, err := p.VMA.area().SetMigration(p.Space.tree, p.VA, page)
	if err != nil {
		return
	}
	if old.Dirty(m.abi) {
		m.pages[head].flags |= pgDirty
	}
	m.setExclusive(head, false)
	m.pages[head].whole--
	m.markPartly(head)
	m.put(head)
}

// thpPage is what package thp asks about the page behind a PMD.
func (m *Machine) thpPage(pfn x86.PFN) thp.Page {
	f := m.folio(pfn)
	return thp.Page{
		Anon: f.flags&pgAnon != 0, Exclusive: m.exclusive(m.head(pfn)), Dirty: f.flags&pgDirty != 0, Pinned: m.maybePinned(pfn),
	}
}

// restoreMigration maps the folio at to where migration entries stand for that at head.
//
// Linux: mm/migrate.c:remove_migration_ptes()
func (m *Machine) restoreMigration(head, to x86.PFN) {
	for i := range x86.PFN(1) << m.pages[head].order {
		m.eachMapping(head+i, true, func(p Mapping) bool {
			if p.Huge {
				if i == 0 {
					m.restorePMD(p, to)
				}
			} else {
				m.restorePTE(p, to+i)
			}
			return true
		})
	}
}

// restorePTE is remove_migration_pte().
func (m *Machine) restorePTE(p Mapping, to x86.PFN) {
	c, err := p.Space.tree.LockPTEs(p.VA, false)
	if err != nil {
		return
	}
	defer c.Unlock()
	i := p.VA.Index(x86.LevelPTE)
	e := c.Get(i)
	s := m.layout.FromPTE(e)
	c.Set(i, m.restored(p.VMA, p.VA, e, to))
	if m.anonPage(to) && !s.ReadableMigration(m.layout) {
		m.setExclusive(to, true)
	}
	m.dupMapping(to)
}

// restored is the entry that takes the place of the migration entry e. That the page may be written again is what e says;
// the protection that the area has now decides all else.
func (m *Machine) restored(v *VMA, va x86.Virt, e x86.PTE, to x86.PFN) x86.PTE {
	s := m.layout.FromPTE(e)
	soft, wp := swapentry.SwpSoftDirty(e), swapentry.SwpUffdWP(e)
	n := x86.MkPTE(m.abi, to, v.prot)
	if soft {
		n = n.MkSoftDirty()
	}
	if !s.MigrationYoung(m.layout) {
		n = n.MkOld()
	}
	if m.folio(to).flags&pgDirty != 0 && s.MigrationDirty(m.layout) {
		n = n.MkDirty(m.abi)
	}
	if m.Policy.RestoreSoftDirty && !soft {
		n = n.ClearSoftDirty()
	}
	switch {
	case s.WritableMigration(m.layout):
		return m.mkWrite(v, va, n, GainMigration)
	case wp:
		return n.MkUffdWP(m.abi)
	case m.Policy.RestoreReadOnly:
		return n.WrProtect(m.abi)
	}
	return n
}

// restorePMD is remove_migration_pmd().
func (m *Machine) restorePMD(p Mapping, to x86.PFN) {
	exclusive, err := p.VMA.area().RemoveMigration(p.Space.tree, p.VA, to, m.thpPage(to))
	if err != nil {
		return
	}
	if exclusive {
		m.setExclusive(to, true)
	}
	m.pages[to].whole++
	m.pages[to].ref++
}
