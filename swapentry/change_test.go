package swapentry

import (
	"testing"

	"ptemu/arch/x86"
)

// changed is mm/mprotect.c:change_pte_range() on one entry that is not a page, with the helpers in its order.
func changed(l *Layout, f x86.ChangeFlags, anon, markers bool, old x86.PTE) x86.PTE {
	wp, resolve := f&x86.ChangeUffdWP != 0, f&x86.ChangeUffdWPResolve != 0
	if old.None() {
		if wp && markers {
			return l.MakePTEMarker(MarkerUffdWP)
		}
		return old
	}
	s, v := l.FromPTE(old), old
	carry := func(s Swp, sd, wp bool) x86.PTE {
		e := s.PTE()
		if sd && SwpSoftDirty(old) {
			e = SwpMkSoftDirty(e)
		}
		if wp && SwpUffdWP(old) {
			e = SwpMkUffdWP(e)
		}
		return e
	}
	switch v61 := l.ABI().Kernel().Release == "6.1"; {
	case s.PTEMarker(l):
		if resolve && !s.PoisonMarker(l) && !s.GuardMarker(l) {
			return 0
		}
		return old
	case s.WritableMigration(l) && anon:
		v = carry(MkSwp(l.Types().MigrationReadExclusive, s.Offset()), true, v61)
	case s.WritableMigration(l):
		v = carry(MkSwp(l.Types().MigrationRead, s.Offset()), true, v61)
	case s.WritableDevicePrivate(l):
		v = carry(MkSwp(l.Types().DevicePrivateRead, s.Offset()), false, true)
	case s.WritableDeviceExclusive(l) && l.Types().DeviceExclusiveRead != NoType:
		v = carry(MkSwp(l.Types().DeviceExclusiveRead, s.Offset()), true, true)
	}
	switch {
	case wp:
		return SwpMkUffdWP(v)
	case resolve:
		return SwpClearUffdWP(v)
	}
	return v
}

// TestChange: the rules come to what the helpers do one after the other.
func TestChange(t *testing.T) {
	for name, l := range layouts(t) {
		for _, f := range []x86.ChangeFlags{0, x86.ChangeNUMA, x86.ChangeUffdWP, x86.ChangeUffdWPResolve} {
			for _, backing := range []Backing{BackingMixed, BackingAnon, BackingFile} {
				for _, markers := range []bool{false, true} {
					c := l.Change(f, backing, markers)
					failed := 0
					values(func(raw uint64) {
						old := x86.PTE(raw)
						if old.Present() || failed > 5 {
							return
						}
						if got, want := apply(l, &c, f, backing, old), changed(l, f, backing != BackingFile, markers, old); got != want {
							failed++
							t.Errorf("%s, flags %#x, backing %d, markers %v: %#016x became %#016x, want %#016x", name, f, backing,
								markers, raw, uint64(got), uint64(want))
						}
					})
				}
			}
		}
	}
}

// TestChangeCommon: types that change and are not said to be uncommon follow the common rule and no other; types that
// are not touched stay as they are.
func TestChangeCommon(t *testing.T) {
	for name, l := range layouts(t) {
		for _, f := range []x86.ChangeFlags{0, x86.ChangeNUMA, x86.ChangeUffdWP, x86.ChangeUffdWPResolve} {
			for _, backing := range []Backing{BackingMixed, BackingAnon, BackingFile} {
				c := l.Change(f, backing, true)
				if c.Uncommon&^c.Touch != 0 || (c.Ask|c.Drop)&^c.Uncommon != 0 {
					t.Fatalf("%s, flags %#x, backing %d: touch %#x, uncommon %#x, ask %#x, drop %#x", name, f, backing, c.Touch,
						c.Uncommon, c.Ask, c.Drop)
				}
				for typ := range c.Keep {
					touched, uncommon := c.Touch>>typ&1 != 0, c.Uncommon>>typ&1 != 0
					switch {
					case touched && !uncommon && (c.Keep[typ] != c.CommonKeep || c.Xor[typ] != c.CommonXor),
						!touched && (c.Keep[typ] != ^uint64(0) || c.Xor[typ] != 0):
						t.Errorf("%s, flags %#x, backing %d: type %d: %#x, %#x", name, f, backing, typ, c.Keep[typ], c.Xor[typ])
					}
				}
			}
		}
	}
}

// apply follows the rules, and asks as a caller would whose pages are all anonymous.
func apply(l *Layout, c *x86.SwapChange, f x86.ChangeFlags, backing Backing, old x86.PTE) x86.PTE {
	if old.None() {
		if c.Install != 0 {
			return x86.PTE(c.Install)
		}
		return old
	}
	v, ask := c.Apply(uint64(old))
	if ask && backing == BackingMixed {
		return l.ChangeMigration(old, f, true)
	}
	return x86.PTE(v)
}

// TestChangeMigrationLeavesOthers: only writable migration entries are its business.
func TestChangeMigrationLeavesOthers(t *testing.T) {
	for name, l := range layouts(t) {
		values(func(raw uint64) {
			p := x86.PTE(raw)
			if SwapPTE(p) && l.FromPTE(p).WritableMigration(l) {
				return
			}
			if got := l.ChangeMigration(p, x86.ChangeUffdWP, true); got != p {
				t.Errorf("%s: %#016x became %#016x", name, raw, uint64(got))
			}
		})
	}
}
