package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// migrationOf is the migration entry for a present leaf, without the flags of the swap form.
func (v *Area) migrationOf(e x86.PMD, pfn x86.PFN, exclusive bool) swapentry.Swp {
	l := v.Layout
	var s swapentry.Swp
	switch {
	case e.Write(v.abi()):
		s = l.MakeWritableMigrationEntry(pfn)
	case exclusive:
		s = l.MakeReadableExclusiveMigrationEntry(pfn)
	default:
		s = l.MakeReadableMigrationEntry(pfn)
	}
	if e.Young() {
		s = l.MakeMigrationEntryYoung(s)
	}
	if e.Dirty(v.abi()) {
		s = l.MakeMigrationEntryDirty(s)
	}
	return s
}

// migrationFlags sets the flags of the swap form n as the present leaf e has them.
func (v *Area) migrationFlags(n x86.PTE, e x86.PMD) x86.PTE {
	if e.SoftDirty() {
		n = swapentry.SwpMkSoftDirty(n)
	}
	if e.UffdWP() {
		n = swapentry.SwpMkUffdWP(n)
	}
	return n
}

// MigrationPMD returns the entry that stands for e, a present leaf or (7.2) a device-private entry, while its page
// migrates.
//
// Linux: mm/huge_memory.c:set_pmd_migration_entry()
func (v *Area) MigrationPMD(e x86.PMD, p Page) x86.PMD {
	exclusive := p.Anon && p.Exclusive
	if e.Present() {
		return x86.PMD(v.migrationFlags(v.migrationOf(e, e.PFN(v.abi()), exclusive).PTE(), e))
	}
	l := v.Layout
	old := l.FromPMD(e)
	var s swapentry.Swp
	switch {
	case old.WritableDevicePrivate(l):
		s = l.MakeWritableMigrationEntry(old.PFN(l))
	case exclusive:
		s = l.MakeReadableExclusiveMigrationEntry(old.PFN(l))
	default:
		s = l.MakeReadableMigrationEntry(old.PFN(l))
	}
	return keepFlags(s.PMD(), e, true, true)
}

// SetMigration puts a migration entry in the place of the leaf at va, and returns what was there; its dirty state
// belongs to the page now. ErrPinned: the page is exclusive and cannot be shared; the leaf stays.
//
// Linux: mm/huge_memory.c:set_pmd_migration_entry()
func (v *Area) SetMigration(t *pgtable.Tree, va x86.Virt, p Page) (old x86.PMD, err error) {
	c, err := t.LockPMDs(va, false)
	if err != nil {
		return 0, &Error{VA: va, Err: err}
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPMD)
	old = c.Get(i)
	switch {
	case v.Layout.PMDDevicePrivate(old):
	case !old.Present() || tableEntry(old):
		return 0, &Error{VA: va, PMD: old, Err: ErrNotHuge}
	default:
		old = c.InvalidateAD(i)
		v.flush(t, va, x86.LevelPMD)
	}
	if p.Anon && p.Exclusive && p.Pinned {
		c.Set(i, old)
		return 0, &Error{VA: va, PMD: old, Err: ErrPinned}
	}
	c.Set(i, v.MigrationPMD(old, p))
	return old, nil
}

// RestoredPMD returns the entry for the page at frame pfn, to which what e stood for has migrated. exclusive: the page
// is to be marked exclusive.
//
// Linux: mm/huge_memory.c:remove_migration_pmd()
func (v *Area) RestoredPMD(e x86.PMD, pfn x86.PFN, p Page) (n x86.PMD, exclusive bool) {
	a, l := v.abi(), v.Layout
	s := l.FromPMD(e)
	n = v.Leaf(pfn)
	if swapentry.SwpSoftDirty(e) {
		n = n.MkSoftDirty()
	}
	if a.Kernel().RestoreTrustsWrite {
		if s.WritableMigration(l) {
			n = v.mkWrite(n)
		}
		if swapentry.SwpUffdWP(e) {
			n = n.MkUffdWP(a)
		}
		n = v.restoreAD(n, s, p)
	} else {
		if swapentry.SwpUffdWP(e) {
			n = n.MkUffdWP(a).WrProtect(a)
		}
		n = v.restoreAD(n, s, p)
		if s.WritableMigration(l) {
			n = v.maybeMkWrite(n)
		} else {
			n = n.WrProtect(a)
		}
	}
	exclusive = p.Anon && !s.ReadableMigration(l)
	if p.Device {
		device := l.MakeReadableDevicePrivateEntry(pfn)
		if n.Write(a) {
			device = l.MakeWritableDevicePrivateEntry(pfn)
		}
		n = keepFlags(device.PMD(), e, true, true)
	}
	return n, exclusive
}

func (v *Area) restoreAD(n x86.PMD, s swapentry.Swp, p Page) x86.PMD {
	if !s.MigrationYoung(v.Layout) {
		n = n.MkOld()
	}
	if p.Dirty && s.MigrationDirty(v.Layout) {
		n = n.MkDirty(v.abi())
	}
	return n
}

// RemoveMigration maps the page at frame pfn in the place of the migration entry at va, and reports whether it is
// exclusive.
//
// Linux: mm/huge_memory.c:remove_migration_pmd()
func (v *Area) RemoveMigration(t *pgtable.Tree, va x86.Virt, pfn x86.PFN, p Page) (exclusive bool, err error) {
	c, err := t.LockPMDs(va, false)
	if err != nil {
		return false, &Error{VA: va, Err: err}
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPMD)
	e := c.Get(i)
	if !v.Layout.PMDMigration(e) {
		return false, &Error{VA: va, PMD: e, Err: ErrNotHuge}
	}
	n, exclusive := v.RestoredPMD(e, pfn, p)
	c.Set(i, n)
	return exclusive, nil
}
