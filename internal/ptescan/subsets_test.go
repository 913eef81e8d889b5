package ptescan

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// TestScansEverySubset puts all combinations of the deciding bits through the kernels that do not change protection, and
// holds the results against the generic ones, which other tests hold against the entry methods. Every combination comes
// beside others, and as a whole table of its own.
func TestScansEverySubset(t *testing.T) {
	n, all := 1<<len(decidingBits), layouts(t)
	forEachImpl(t, func(t *testing.T) {
		for _, name := range layoutNames {
			for i := 0; i < n; i += 512 {
				var side Table
				for j := range side {
					side[j] = entry(spread(i+j, decidingBits), framesBase+uint64(j))
				}
				checkScans(t, all[name], &side)
			}
			for i := range n {
				var own Table
				for j := range own {
					own[j] = entry(spread(i, decidingBits), framesBase+uint64(j))
				}
				checkScans(t, all[name], &own)
			}
		}
	})
}

// checkScans runs the kernels other than Change on copies of tab.
func checkScans(t *testing.T, l *swapentry.Layout, tab *Table) {
	t.Helper()
	a := l.ABI()
	for _, flags := range []x86.CopyFlags{x86.CopyCOW, x86.CopyShared | x86.CopyKeepUffdWP} {
		got, want, child, wantChild, r, wantR := *tab, *tab, Table{}, Table{}, Copied{}, Copied{}
		c := NewCopy(a.Copy(flags), false)
		c.Apply(&got, &child, 0, 511, &r)
		c.applyGeneric(&want, &wantChild, 0, 511, &wantR)
		if got != want || child != wantChild || r != wantR {
			t.Fatalf("copy %v of %#x: %x, want %x", flags, tab[:8], r, wantR)
		}
	}
	for _, h := range []x86.PTEHarvest{a.HarvestYoung(), a.HarvestDirty()} {
		got, want, r, wantR := *tab, *tab, Harvested{}, Harvested{}
		Harvest(&h, &got, 0, 511, &r)
		harvestGeneric(&want, 0, 511, &h, &wantR)
		if got != want || r != wantR {
			t.Fatalf("harvest of %#x: %x, want %x", tab[:8], r, wantR)
		}
	}
	for _, marker := range []x86.PTE{0, l.MakePTEMarker(swapentry.MarkerUffdWP)} {
		got, want, r, wantR, saved := *tab, *tab, Zapped{}, Zapped{}, Table{}
		z := a.Zap(marker)
		Zap(&z, &got, 0, 511, &saved, &r)
		zapGeneric(&want, new(Table), 0, 511, &z, &wantR)
		if got != want || r != wantR {
			t.Fatalf("zap of %#x: %x, want %x", tab[:8], r, wantR)
		}
	}
	var r, wantR Sorted
	k := a.Kinds()
	Sort(&k, tab, &r)
	if sortGeneric(tab, &k, &wantR); r != wantR {
		t.Fatalf("sort of %#x: %x, want %x", tab[:8], r, wantR)
	}
	for _, frames := range []bool{false, true} {
		var b, wantB Bitmap
		p := a.Runs(0, frames)
		any := Breaks(&p, tab, tab[0], &b)
		if wantAny := breaksGeneric(tab, tab[0], &p, &wantB); b != wantB || any != wantAny {
			t.Fatalf("breaks of %#x: %x, want %x", tab[:8], b, wantB)
		}
	}
}
