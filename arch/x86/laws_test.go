package x86

import (
	"math/bits"
	"testing"
)

// deciding are the bits that any method of an entry reads or moves.
const deciding = PagePresent | PageRW | PageUser | PageAccessed | PageDirty | PagePSE | PageProtnone | PageSpecial |
	PageUffdWP | PageSoftDirty | PageSoftW4 | PageSoftW5 | PageNX

// subsets calls f with every subset of mask.
func subsets(mask uint64, f func(uint64)) {
	for s := uint64(0); ; s = (s - mask) & mask {
		f(s)
		if s == mask {
			return
		}
	}
}

// TestLaws states what Documentation/mm/arch_pgtable_helpers.rst promises of the helpers, over every subset of
// the deciding bits, for present entries and their PROT_NONE forms.
func TestLaws(t *testing.T) {
	for name, a := range abis(t) {
		subsets(deciding, func(v uint64) {
			for _, pfn := range []PFN{0, 1, 0x12345, 1<<40 - 1} {
				p := PTE(v | uint64(pfn)<<PageShift)
				type law struct {
					name string
					ok   bool
				}
				for _, l := range []law{
					{"young(mkyoung)", p.MkYoung().Young()},
					{"!young(mkold)", !p.MkOld().Young()},
					{"dirty(mkdirty)", p.MkDirty(a).Dirty(a)},
					{"softdirty(mkdirty)", p.MkDirty(a).SoftDirty()},
					{"!dirty(mkclean)", !p.MkClean(a).Dirty(a)},
					{"write(mkwrite)", p.MkWrite(a).Write(a)},
					{"!write(wrprotect)", !p.WrProtect(a).Write(a)},
					{"wrprotect keeps dirty", p.WrProtect(a).Dirty(a) == p.Dirty(a)},
					{"mkwrite keeps dirty", p.MkWrite(a).Dirty(a) == p.Dirty(a)},
					{"wrprotect twice is once", p.WrProtect(a).WrProtect(a) == p.WrProtect(a)},
					{"mkwrite undoes wrprotect", p&PageRW == 0 || p.WrProtect(a).MkWrite(a) == p.ClearSavedDirty(a)},
					{"uffd-wp goes", !p.MkUffdWP(a).ClearUffdWP().UffdWP()},
					{"uffd-wp comes", p.MkUffdWP(a).UffdWP()},
					{"uffd-wp protects where it should", !a.kernel.UffdWPProtects || !p.MkUffdWP(a).Write(a)},
					{"modify keeps the frame", p == 0 || p.Modify(a, ProtNone).PFN(a) == p.PFN(a)},
					{"modify keeps dirty", p.Modify(a, ProtReadonly).Dirty(a) == p.Dirty(a)},
					{"modify keeps software bits", (p^p.Modify(a, ProtShared))&(PageUffdWP|PageSoftDirty|PageSpecial|PageAccessed) == 0},
					{"there and back", p == 0 || p.Modify(a, ProtNone).Modify(a, ProtReadonly).PFN(a) == p.PFN(a)},
					{"protnone is present", !p.Protnone() || p.Present()},
					{"none is not present", !p.None() || !p.Present()},
				} {
					if !l.ok {
						t.Fatalf("%s: %s does not hold for %#016x", name, l.name, uint64(p))
					}
				}
			}
		})
	}
}

// TestFlagsCoverEveryBit: with the value fields, the flag lists name every one of the 64 bits exactly once.
func TestFlagsCoverEveryBit(t *testing.T) {
	for name, a := range abis(t) {
		for l := LevelPTE; l <= LevelPGD; l++ {
			for f := range formCount {
				seen := a.valueBits(l, f)
				names := map[string]bool{}
				for _, flag := range a.FlagsOf(l, f) {
					if bits.OnesCount64(flag.Mask) != 1 || seen&flag.Mask != 0 || names[flag.Name] {
						t.Errorf("%s %v form %d: %s (%#x) overlaps", name, l, f, flag.Name, flag.Mask)
					}
					seen |= flag.Mask
					names[flag.Name] = true
				}
				if seen != ^uint64(0) {
					t.Errorf("%s %v form %d: bits %#x have no name", name, l, f, ^seen)
				}
			}
		}
	}
}

func TestFlagNames(t *testing.T) {
	for _, c := range []struct {
		k     Kernel
		l     Level
		entry uint64
		want  string
	}{
		{Linux6_1(), LevelPTE, 0x8000000012345867, "RW USER ACCESSED DIRTY SOFT_DIRTY NX"},
		{Linux7_2(), LevelPTE, 0x8400000012345c25, "USER ACCESSED UFFD_WP SOFT_DIRTY SAVED_DIRTY NX"},
		{Linux6_1(), LevelPTE, 0x0400000000000225, "USER ACCESSED SPECIAL DEVMAP"},
		{Linux6_12(), LevelPTE, 0x0600000000000225, "USER ACCESSED SPECIAL DEVMAP SAVED_DIRTY"},
		{Linux7_2(), LevelPTE, 0x0200000000000025, "USER ACCESSED BIT57"},
		{Linux7_2(), LevelPTE, 0x8000000000000963, "RW ACCESSED DIRTY GLOBAL KERNEL_4K NX"},
		{Linux6_1(), LevelPTE, 0x000fffffedcba960, "ACCESSED DIRTY PROTNONE SOFT_DIRTY"},
		{Linux6_1(), LevelPMD, 0x80000000400018e7, "RW USER ACCESSED DIRTY PSE SOFT_DIRTY PAT_LARGE NX"},
		{Linux6_1(), LevelPMD, 0x12345067, "RW USER ACCESSED DIRTY"},
		{Linux6_1(), LevelPTE, 0x07ffffffffdb960e, "SWP_SOFT_DIRTY SWP_UFFD_WP SWP_EXCLUSIVE"},
		{Linux7_2(), LevelPUD, 0x80000000400004e5, "USER ACCESSED DIRTY PSE UFFD_WP NX"},
		{Linux7_2(), LevelP4D, 0x0400000012345067, "RW USER ACCESSED DIRTY NOPTISHADOW"},
	} {
		a := MustABI(c.k, DefaultPaging(4))
		got := ""
		for i, n := range a.AppendFlags(nil, c.l, c.entry) {
			if i > 0 {
				got += " "
			}
			got += n
		}
		if got != c.want {
			t.Errorf("%s %v %#016x: got %q, want %q", c.k.Release, c.l, c.entry, got, c.want)
		}
	}
}

func TestReservedBits(t *testing.T) {
	p := Paging{Levels: 4, PhysBits: 40, NX: false, EncMask: 1 << 47}
	a := MustABI(Linux6_1(), p)
	for _, c := range []struct {
		l           Level
		entry, want uint64
	}{
		{LevelPTE, 0x8000000000001067, PageNX},
		{LevelPTE, 0x8000000000001066, 0},
		{LevelPTE, 1<<40 | 1<<47 | 1, 1 << 40},
		{LevelPMD, 0x1f3000 | PagePSE | 1, 0x1f2000},
		{LevelPMD, 0x1f3000 | 1, 0},
		{LevelPUD, 0x3fe01000 | PagePSE | 1, 0x3fe00000},
		{LevelP4D, PagePSE | 1, PagePSE},
	} {
		if got := a.ReservedBits(c.l, c.entry); got != c.want {
			t.Errorf("%v %#x: got %#x, want %#x", c.l, c.entry, got, c.want)
		}
	}
}
