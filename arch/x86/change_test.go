package x86

import "testing"

// variants are the kernels, each on an ordinary machine, with shadow stacks, without NX, and with memory encryption.
func variants(t testing.TB) map[string]*ABI {
	all := map[string]*ABI{}
	for _, k := range Kernels() {
		for name, change := range map[string]func(*Paging){
			"":       func(*Paging) {},
			"/shstk": func(p *Paging) { p.ShadowStack = true },
			"/no NX": func(p *Paging) { p.NX = false },
			"/SME":   func(p *Paging) { p.EncMask = 1 << 47 },
		} {
			p := DefaultPaging(4)
			change(&p)
			all[k.Release+name] = MustABI(k, p)
		}
	}
	return all
}

// pages calls f with every page that the deciding bits make, at frame 0 and at another.
func pages(f func(PTE)) {
	subsets(deciding, func(v uint64) {
		if v&(PagePresent|PageProtnone) != 0 {
			f(PTE(v))
			f(PTE(v | 0x12345<<PageShift))
		}
	})
}

// prots are protections of areas, those that change_protection() is given, and one without any bit.
var prots = []Prot{0, ProtNone, ProtReadonly, ProtShared, 5<<PageBitPkey0 | ProtSharedExec}

// protected is mm/mprotect.c:change_pte_range() on a present PTE, with the helpers in its order.
func protected(a *ABI, old PTE, prot Prot, f ChangeFlags) PTE {
	v := old.Modify(a, prot)
	switch v61 := a.kernel.Release == "6.1"; {
	case f&ChangeNUMA != 0 && v61 && old.Write(a):
		return v.MkWriteNoVMA() // pte_mk_savedwrite()
	case f&ChangeUffdWP != 0 && v61:
		return v.WrProtect(a).MkUffdWP(a)
	case f&ChangeUffdWP != 0:
		return v.MkUffdWP(a)
	case f&ChangeUffdWPResolve != 0:
		return v.ClearUffdWP()
	}
	return v
}

// upgradable is can_change_pte_writable() where v is not writable yet.
func upgradable(a *ABI, v PTE, f ChangeFlags) Upgrade {
	switch {
	case f&ChangeTryWritable == 0, v.Write(a), v.Protnone():
		return UpgradeNone
	case a.kernel.Release == "6.1" && !v.Dirty(a):
		return UpgradeNone
	case f&ChangeSoftDirtyTracked != 0 && !v.SoftDirty(), f&ChangeAreaUffdWP != 0 && v.UffdWP():
		return UpgradeNone
	case f&ChangeShared != 0 && v.Dirty(a):
		return UpgradeAll
	case f&ChangeShared != 0 || v.Special():
		return UpgradeNone
	}
	return UpgradeAsk
}

// areaOf are the flags of a writable area that f describes.
func areaOf(f ChangeFlags) VMFlags {
	if f&ChangeShadowStack != 0 {
		return VMWrite | VMShadowStack
	}
	return VMWrite
}

// TestChange: the masks come to what the kernel's helpers do one after the other, for every page, protection and kind
// of change; so does the decision to make a page writable, and to flush.
func TestChange(t *testing.T) {
	var kinds []ChangeFlags
	for _, kind := range []ChangeFlags{0, ChangeNUMA, ChangeUffdWP, ChangeUffdWPResolve} {
		kinds = append(kinds, kind)
		subsets(uint64(ChangeShared|ChangeAreaUffdWP|ChangeSoftDirtyTracked|ChangeShadowStack), func(area uint64) {
			kinds = append(kinds, kind|ChangeTryWritable|ChangeFlags(area))
		})
	}
	for name, a := range variants(t) {
		for _, prot := range prots {
			for _, f := range kinds {
				testChange(t, name, a, prot, f)
			}
		}
	}
}

func testChange(t *testing.T, name string, a *ABI, prot Prot, f ChangeFlags) {
	c := a.Change(prot, f)
	pages(func(old PTE) {
		selected := f&ChangeNUMA == 0 || !old.Protnone()
		if old&PTE(c.Exists) == 0 || (old&PTE(c.Select) != 0) != selected {
			t.Fatalf("%s, prot %#x, flags %#x: %#016x is not selected rightly", name, uint64(prot), f, uint64(old))
		}
		if !selected {
			return
		}
		v := PTE(c.Apply(uint64(old)))
		if want := protected(a, old, prot, f); v != want {
			t.Fatalf("%s, prot %#x, flags %#x: %#016x became %#016x, want %#016x", name, uint64(prot), f, uint64(old), uint64(v), uint64(want))
		}
		upgrade := UpgradeNone
		if c.Writable(uint64(v)) {
			upgrade = c.Upgrade
		}
		if want := upgradable(a, v, f); upgrade != want {
			t.Fatalf("%s, prot %#x, flags %#x: upgrade of %#016x is %d, want %d", name, uint64(prot), f, uint64(v), upgrade, want)
		}
		if upgrade != UpgradeNone {
			up := PTE(c.MkWrite(uint64(v)))
			if want := v.MaybeMkWrite(a, areaOf(f)); up != want {
				t.Fatalf("%s, prot %#x, flags %#x: %#016x upgraded is %#016x, want %#016x", name, uint64(prot), f, uint64(v), uint64(up), uint64(want))
			}
			v = up
		}
		if got, want := c.NeedsFlush(uint64(old), uint64(v)), PTENeedsFlush(a, old, v); got != want {
			t.Fatalf("%s, prot %#x, flags %#x: %#016x to %#016x: flush %v, want %v", name, uint64(prot), f, uint64(old), uint64(v), got, want)
		}
	})
}

// TestSimpleChanges: the changes that need no protection.
func TestSimpleChanges(t *testing.T) {
	for name, a := range variants(t) {
		for _, op := range []struct {
			name string
			c    PTEChange
			f    func(PTE) PTE
		}{
			{"clear_soft_dirty", a.ChangeClearSoftDirty(), func(p PTE) PTE { return p.WrProtect(a).ClearSoftDirty() }},
			{"make_uffd_wp_pte", a.ChangeUffdWPAsync(), func(p PTE) PTE { return p.MkUffdWP(a) }},
			{"mkyoung", a.ChangeMkYoung(), PTE.MkYoung},
			{"mkold", a.ChangeMkOld(), PTE.MkOld},
		} {
			pages(func(old PTE) {
				v, want := PTE(op.c.Apply(uint64(old))), op.f(old)
				if v != want || op.c.Writable(uint64(v)) {
					t.Fatalf("%s, %s: %#016x became %#016x, want %#016x", name, op.name, uint64(old), uint64(v), uint64(want))
				}
				if got := op.c.NeedsFlush(uint64(old), uint64(v)); got != PTENeedsFlush(a, old, v) {
					t.Fatalf("%s, %s: %#016x: flush %v", name, op.name, uint64(old), got)
				}
			})
		}
	}
}
