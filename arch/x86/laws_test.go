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

// sized are the operations of a level that know about frames and protections.
type sized struct {
	size   PFN // frames that a leaf maps
	frame  func(uint64) PFN
	modify func(uint64, Prot) uint64
	mk     func(PFN, Prot) uint64
	drops  uint64 // what modify may lose
}

func sizedOf(a *ABI) map[string]sized {
	all := map[string]sized{
		"pte": {1, func(v uint64) PFN { return PTE(v).PFN(a) },
			func(v uint64, p Prot) uint64 { return uint64(PTE(v).Modify(a, p)) },
			func(f PFN, p Prot) uint64 { return uint64(MkPTE(a, f, p)) }, 0},
		"pmd": {512, func(v uint64) PFN { return PMD(v).PFN(a) },
			func(v uint64, p Prot) uint64 { return uint64(PMD(v).Modify(a, p)) },
			func(f PFN, p Prot) uint64 { return uint64(MkPMD(a, f, p).MkHuge()) }, 0},
		"pud": {512 * 512, func(v uint64) PFN { return PUD(v).PFN(a) },
			func(v uint64, p Prot) uint64 { return uint64(PUD(v).Modify(a, p)) },
			func(f PFN, p Prot) uint64 { return uint64(MkPUD(a, f, p).MkHuge()) }, 0},
	}
	if a.kernel.Release == "6.12" {
		pmd := all["pmd"]
		pmd.drops = PageDirty
		all["pmd"] = pmd
	}
	return all
}

type law struct {
	name string
	ok   func(v uint64) bool
}

// lawsOf states what Documentation/mm/arch_pgtable_helpers.rst promises of the helpers, and what follows from the
// saved dirty state and the inverted frames, of a leaf with flags v at frame pfn.
func lawsOf(a *ABI, level string) []law {
	op, is, sized := opsOf(a)[level], predicatesOf(a)[level], sizedOf(a)[level]
	wr, mkw := op["wrprotect"], op["mkwrite"]
	laws := []law{
		{"young(mkyoung)", func(v uint64) bool { return is["young"](op["mkyoung"](v)) }},
		{"!young(mkold)", func(v uint64) bool { return !is["young"](op["mkold"](v)) }},
		{"dirty(mkdirty)", func(v uint64) bool { return is["dirty"](op["mkdirty"](v)) }},
		{"soft_dirty(mkdirty)", func(v uint64) bool { return is["soft_dirty"](op["mkdirty"](v)) }},
		{"!dirty(mkclean)", func(v uint64) bool { return !is["dirty"](op["mkclean"](v)) }},
		{"write(mkwrite)", func(v uint64) bool { return is["write"](mkw(v)) }},
		{"!write(wrprotect)", func(v uint64) bool { return !is["write"](wr(v)) }},
		{"wrprotect keeps dirty", func(v uint64) bool { return is["dirty"](wr(v)) == is["dirty"](v) }},
		{"mkwrite keeps dirty", func(v uint64) bool { return is["dirty"](mkw(v)) == is["dirty"](v) }},
		{"wrprotect twice is once", func(v uint64) bool { return wr(wr(v)) == wr(v) }},
		{"mkwrite undoes wrprotect", func(v uint64) bool { return v&PageRW == 0 || mkw(wr(v)) == op["clear_saveddirty"](v) }},
		{"mksoft_dirty", func(v uint64) bool { return is["soft_dirty"](op["mksoft_dirty"](v)) }},
		{"clear_soft_dirty", func(v uint64) bool { return !is["soft_dirty"](op["clear_soft_dirty"](v)) }},
		{"modify keeps the frame", func(v uint64) bool { return v == 0 || sized.frame(sized.modify(v, ProtNone)) == sized.frame(v) }},
		{"there and back", func(v uint64) bool {
			return v == 0 || sized.frame(sized.modify(sized.modify(v, ProtNone), ProtReadonly)) == sized.frame(v)
		}},
		{"modify keeps dirty", func(v uint64) bool {
			kept := v &^ sized.drops
			return is["dirty"](sized.modify(v, ProtReadonly)) == is["dirty"](kept)
		}},
		{"modify keeps software bits", func(v uint64) bool {
			return (v^sized.modify(v, ProtShared))&(PageUffdWP|PageSoftDirty|PageSpecial|PageAccessed) == 0
		}},
		{"modify takes the key", func(v uint64) bool {
			return sized.modify(v, ProtShared|5<<PageBitPkey0)&PagePkeyMask == 5<<PageBitPkey0
		}},
		{"no shadow stack by accident", func(v uint64) bool { // RW=0, D=1 only where it was
			w := sized.modify(v, ProtReadonly)
			return a.savedDirty == 0 || w&PageDirty == 0 || v&(PageRW|PageDirty) == PageDirty
		}},
	}
	if level == "pud" {
		return laws
	}
	return append(laws,
		law{"uffd-wp goes", func(v uint64) bool { return !is["uffd_wp"](op["clear_uffd_wp"](op["mkuffd_wp"](v))) }},
		law{"uffd-wp comes", func(v uint64) bool { return is["uffd_wp"](op["mkuffd_wp"](v)) }},
		law{"uffd-wp protects where it should", func(v uint64) bool {
			return is["write"](op["mkuffd_wp"](v)) == (a.kernel.Release == "6.1" && is["write"](v))
		}},
	)
}

// TestLaws holds the laws over every subset of the deciding bits, of pages and of other values, for PTE, PMD and PUD.
func TestLaws(t *testing.T) {
	for name, a := range variants(t) {
		for level, sized := range sizedOf(a) {
			laws := lawsOf(a, level)
			subsets(deciding, func(v uint64) {
				if level != "pte" {
					v |= PagePSE
				}
				for _, pfn := range []PFN{0, 1, 0x12345, 1<<40/sized.size - 1} {
					e := v | uint64(pfn*sized.size)<<PageShift&^a.paging.EncMask
					for _, l := range laws {
						if !l.ok(e) {
							t.Fatalf("%s: %s: %s does not hold for %#016x", name, level, l.name, e)
						}
					}
				}
			})
		}
	}
}

// TestFrames: what is made for a frame has it, under every protection, and an entry that its processor may speculate
// through without P names none of the frames of memory.
func TestFrames(t *testing.T) {
	for name, a := range variants(t) {
		for level, sized := range sizedOf(a) {
			for _, prot := range []Prot{ProtNone, ProtReadonly, ProtShared, ProtKernel} {
				for _, n := range []PFN{0, 1, 2, 0x12345} {
					pfn := n * sized.size
					e := sized.mk(pfn, prot)
					if got := sized.frame(e); got != pfn {
						t.Errorf("%s: %s: frame %#x became %#x in %#016x", name, level, uint64(pfn), uint64(got), e)
					}
					if raw := PFN(e & a.pteFrame >> PageShift); e&PagePresent == 0 && raw < 1<<(45-PageShift) {
						t.Errorf("%s: %s: %#016x leads to memory", name, level, e)
					}
				}
			}
		}
	}
}

// TestMkInvalid: a huge page that is being changed has neither P nor PROT_NONE, its frame, and all other bits.
func TestMkInvalid(t *testing.T) {
	for name, a := range variants(t) {
		subsets(deciding&^PagePSE, func(v uint64) {
			if !a.paging.NX {
				v &^= PageNX
			}
			pmd, pud := PMD(v|PagePSE|0x40000<<PageShift), PUD(v|PagePSE|0x40000<<PageShift)
			if v&PagePresent == 0 { // stored inverted
				pmd, pud = pmd^PMD(a.pmdFrame), pud^PUD(a.pudFrame)
			}
			m, u := pmd.MkInvalid(a), pud.MkInvalid(a)
			const gone = PagePresent | PageProtnone
			if !m.Present() || m&gone != 0 || m.PFN(a) != 0x40000 || m.Flags(a) != pmd.Flags(a)&^gone || m.MkInvalid(a) != m {
				t.Fatalf("%s: %#016x became %#016x", name, uint64(pmd), uint64(m))
			}
			if u.Present() || u&gone != 0 || u.PFN(a) != 0x40000 || u.Flags(a) != pud.Flags(a)&^gone || u.MkInvalid(a) != u {
				t.Fatalf("%s: %#016x became %#016x", name, uint64(pud), uint64(u))
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
