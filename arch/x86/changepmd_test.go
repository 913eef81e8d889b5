package x86

import "testing"

// TestPMDUpgrade: mm/huge_memory.c:can_change_pmd_writable(), over every leaf and kind of area.
func TestPMDUpgrade(t *testing.T) {
	for name, a := range variants(t) {
		subsets(uint64(ChangeTryWritable|ChangeShared|ChangeAreaUffdWP|ChangeSoftDirtyTracked|ChangeShadowStack), func(flags uint64) {
			f := ChangeFlags(flags)
			subsets(deciding|PagePSE, func(v uint64) {
				p := PMD(v | PagePSE)
				want := upgradable(a, PTE(p&^PageSpecial), f)
				if p.Write(a) || a.kernel.Release == "6.1" {
					want = UpgradeNone
				}
				if got := a.PMDUpgrade(p, f); got != want {
					t.Fatalf("%s, flags %#x: %#016x: upgrade %d, want %d", name, f, uint64(p), got, want)
				}
				if got, want := a.PMDUpgraded(p, f), p.MaybeMkWrite(a, areaOf(f)); got != want {
					t.Fatalf("%s, flags %#x: %#016x upgraded is %#016x, want %#016x", name, f, uint64(p), uint64(got), uint64(want))
				}
			})
		})
	}
}

// TestChangePMD: a huge page goes the way of a small one with the same flags, but for PSE, and for D, which 6.12 loses.
func TestChangePMD(t *testing.T) {
	for name, a := range variants(t) {
		for _, prot := range prots {
			for _, f := range []ChangeFlags{0, ChangeNUMA, ChangeUffdWP, ChangeUffdWPResolve} {
				subsets(deciding&^PagePSE, func(v uint64) {
					if v&(PagePresent|PageProtnone) == 0 || prot == 0 {
						return
					}
					old := PTE(v | 0x40000<<PageShift)
					if a.kernel.Release == "6.12" {
						old &^= PageDirty
					}
					want := PMD(protected(a, old, prot, f)) | PagePSE
					got := a.ChangePMD(PMD(v|0x40000<<PageShift)|PagePSE, prot, f)
					// In an inverted frame the bits below the huge page's are flags, and stay 0.
					low := PMD(LevelPMD.Size()-1) &^ (PageSize - 1)
					if got&^low != want&^low || got&low != 0 {
						t.Fatalf("%s, prot %#x, flags %#x: %#016x became %#016x, want %#016x", name, uint64(prot), f, v, uint64(got), uint64(want))
					}
				})
			}
		}
	}
}
