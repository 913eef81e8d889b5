package ptescan

import (
	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// pageKind is what the page behind a migration entry is.
type pageKind int

const (
	pageAnon pageKind = iota
	pageFile
	pageUnknown
)

// swapRules is change_pte_range() on entries that are not pages, as rules. markers: empty entries get a marker under
// x86.ChangeUffdWP.
func swapRules(l *swapentry.Layout, f x86.ChangeFlags, page pageKind, markers bool) *x86.SwapChange {
	const (
		sd, wp, flags = uint64(x86.PageSwpSoftDirty), uint64(x86.PageSwpUffdWP), uint64(1)<<9 - 1
	)
	t, c := l.Types(), x86.NewSwapChange()
	keepWP := wp
	if l.ABI().Kernel().UffdWPProtects {
		keepWP = 0 // a writable entry is not protected
	}
	// What the flag step does to every entry but markers.
	var set uint64
	keep := ^uint64(0)
	if f&(x86.ChangeUffdWP|x86.ChangeUffdWPResolve) != 0 {
		keep &^= wp
		if f&x86.ChangeUffdWP != 0 {
			set = wp
		}
		c.SetCommon((1<<32-1)&^(1<<t.Marker), keep, set)
	}
	toType := func(from, to uint8, carry uint64) {
		if from != swapentry.NoType && to != swapentry.NoType {
			change := uint64(swapentry.MkSwp(from, 0).PTE() ^ swapentry.MkSwp(to, 0).PTE())
			c.Set(from, keep&(^flags|carry), set|change)
		}
	}
	switch page {
	case pageAnon:
		toType(t.MigrationWrite, t.MigrationReadExclusive, sd|keepWP)
	case pageFile:
		toType(t.MigrationWrite, t.MigrationRead, sd|keepWP)
	case pageUnknown:
		c.SetAsk(t.MigrationWrite)
	}
	toType(t.DevicePrivateWrite, t.DevicePrivateRead, wp)
	toType(t.DeviceExclusiveWrite, t.DeviceExclusiveRead, sd|wp)
	if f&x86.ChangeUffdWP != 0 && markers {
		c.Install = uint64(l.MakePTEMarker(swapentry.MarkerUffdWP))
	} else if f&x86.ChangeUffdWPResolve != 0 && f&x86.ChangeUffdWP == 0 {
		// Markers that say more than uffd-wp stay. Their offset is stored inverted.
		clean := uint64(l.MakePTEMarker(0))
		mask := clean ^ uint64(l.MakePTEMarker(l.MarkerMask()&^swapentry.MarkerUffdWP))
		c.SetDrop(t.Marker, mask, clean&mask)
	}
	return &c
}

// refSwap is the same, one entry at a time, in the kernel's order.
func refSwap(l *swapentry.Layout, f x86.ChangeFlags, page pageKind, old x86.PTE) (v x86.PTE, ask bool) {
	s, t := l.FromPTE(old), l.Types()
	carry := func(n uint8, sd, wp bool) x86.PTE {
		e := swapentry.MkSwp(n, s.Offset()).PTE()
		if sd && swapentry.SwpSoftDirty(old) {
			e = swapentry.SwpMkSoftDirty(e)
		}
		if wp && swapentry.SwpUffdWP(old) {
			e = swapentry.SwpMkUffdWP(e)
		}
		return e
	}
	switch {
	case s.WritableMigration(l):
		to := t.MigrationRead
		switch page {
		case pageUnknown:
			return old, true
		case pageAnon:
			to = t.MigrationReadExclusive
		}
		v = carry(to, true, l.ABI().Kernel().Release == "6.1")
	case s.WritableDevicePrivate(l):
		v = carry(t.DevicePrivateRead, false, true)
	case s.WritableDeviceExclusive(l) && t.DeviceExclusiveRead != swapentry.NoType:
		v = carry(t.DeviceExclusiveRead, true, true)
	case s.PTEMarker(l):
		if f&x86.ChangeUffdWP == 0 && f&x86.ChangeUffdWPResolve != 0 && !s.PoisonMarker(l) && !s.GuardMarker(l) {
			return 0, false
		}
		return old, false
	default:
		v = old
	}
	switch {
	case f&x86.ChangeUffdWP != 0:
		v = swapentry.SwpMkUffdWP(v)
	case f&x86.ChangeUffdWPResolve != 0:
		v = swapentry.SwpClearUffdWP(v)
	}
	return v, false
}
