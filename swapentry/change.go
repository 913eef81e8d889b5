package swapentry

import "ptemu/arch/x86"

// Backing says what the pages of an area are, as far as the area alone tells.
type Backing uint8

const (
	// BackingMixed: each page must be asked (private file mappings).
	BackingMixed Backing = iota
	// BackingAnon: all are anonymous.
	BackingAnon
	// BackingFile: none is.
	BackingFile
)

// Change returns what a change of protection does to entries that are neither pages nor empty, and, with markers, to
// empty ones when it write-protects. Migration entries of writable pages become read-exclusive or read by backing;
// where that does not tell they are left to the caller (x86.SwapChange.Ask), who then uses [Layout.ChangeMigration].
//
// Linux: mm/mprotect.c:change_pte_range(); for markers, the area's userfaultfd_wp_use_markers(), in 6.1
// !vma_is_anonymous()
func (l *Layout) Change(f x86.ChangeFlags, backing Backing, markers bool) x86.SwapChange {
	c := x86.NewSwapChange()
	l.changeFlags(&c, f)
	t := &l.types
	switch backing {
	case BackingMixed:
		c.SetAsk(t.MigrationWrite)
	case BackingAnon:
		l.changeType(&c, f, t.MigrationWrite, t.MigrationReadExclusive, l.migrationCarries())
	case BackingFile:
		l.changeType(&c, f, t.MigrationWrite, t.MigrationRead, l.migrationCarries())
	}
	l.changeType(&c, f, t.DevicePrivateWrite, t.DevicePrivateRead, x86.PageSwpUffdWP)
	l.changeType(&c, f, t.DeviceExclusiveWrite, t.DeviceExclusiveRead, x86.PageSwpUffdWP|x86.PageSwpSoftDirty)
	switch {
	case f&x86.ChangeUffdWP != 0:
		if markers {
			c.Install = uint64(l.MakePTEMarker(MarkerUffdWP))
		}
	case f&x86.ChangeUffdWPResolve != 0:
		// A marker that says more than uffd-wp stays. Markers are stored inverted.
		empty := uint64(l.MakePTEMarker(0))
		mask := empty ^ uint64(l.MakePTEMarker(l.markers&^MarkerUffdWP))
		c.SetDrop(t.Marker, mask, empty&mask)
	}
	return c
}

// ChangeMigration is what a change of protection does to the migration entry of a writable page: read-exclusive if
// the page is anonymous, else read. Other entries come back as they are.
//
// Linux: mm/mprotect.c:change_pte_range()
func (l *Layout) ChangeMigration(p x86.PTE, f x86.ChangeFlags, anon bool) x86.PTE {
	s := l.FromPTE(p)
	if !SwapPTE(p) || !s.WritableMigration(l) {
		return p
	}
	to := l.types.MigrationRead
	if anon {
		to = l.types.MigrationReadExclusive
	}
	p = MkSwp(to, s.Offset()).PTE() | p&x86.PTE(l.migrationCarries())
	switch {
	case f&x86.ChangeUffdWP != 0:
		p = SwpMkUffdWP(p)
	case f&x86.ChangeUffdWPResolve != 0:
		p = SwpClearUffdWP(p)
	}
	return p
}

// migrationCarries has the flags that a migration entry keeps when it turns read-only. Where write-protection by
// userfaultfd takes RW away, an entry that was writable is not protected.
func (l *Layout) migrationCarries() uint64 {
	if l.abi.Kernel().UffdWPProtects {
		return x86.PageSwpSoftDirty
	}
	return x86.PageSwpSoftDirty | x86.PageSwpUffdWP
}

// changeFlags is what the uffd flags do to every entry but a marker.
func (l *Layout) changeFlags(c *x86.SwapChange, f x86.ChangeFlags) {
	all := uint64(1<<(1<<typeBits) - 1)
	all &^= 1 << l.types.Marker
	switch {
	case f&x86.ChangeUffdWP != 0:
		c.SetCommon(all, ^uint64(x86.PageSwpUffdWP), x86.PageSwpUffdWP)
	case f&x86.ChangeUffdWPResolve != 0:
		c.SetCommon(all, ^uint64(x86.PageSwpUffdWP), 0)
	}
}

// changeType turns entries of one type into another, with the same offset. Of the low bits only those in carry stay.
// A kernel without the second type does nothing: it has not got the first either, or only that one.
func (l *Layout) changeType(c *x86.SwapChange, f x86.ChangeFlags, from, to uint8, carry uint64) {
	if to == NoType {
		return
	}
	const low = uint64(1<<rawOffsetFirst - 1)
	xor := uint64(MkSwp(from, 0).PTE() ^ MkSwp(to, 0).PTE())
	switch {
	case f&x86.ChangeUffdWP != 0:
		carry &^= x86.PageSwpUffdWP
		xor |= x86.PageSwpUffdWP
	case f&x86.ChangeUffdWPResolve != 0:
		carry &^= x86.PageSwpUffdWP
	}
	c.Set(from, ^low|carry, xor)
}
