package pgtable

import (
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// TestScan compares the questions about a whole table with the same asked entry by entry.
func TestScan(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		var tab physmem.Table
		for g := 0; g < 512; g += 32 { // groups of equal, similar and random entries
			v, kind := r.Uint64()&r.Uint64(), r.IntN(4)
			for i := g; i < g+32; i++ {
				switch kind {
				case 0:
					tab[i] = v
				case 1:
					tab[i] = v ^ 1<<r.IntN(64)
				case 2:
					tab[i] = r.Uint64()
				}
			}
		}
		first := r.IntN(512)
		last := first + r.IntN(512-first)
		mask := r.Uint64() & r.Uint64() & r.Uint64()
		var has, pages, both, others, tmp Bitmap
		having(&tab, first, last, mask, &has)
		pagesHaving(&tab, first, last, mask, &both, &tmp)
		pagesIn(&tab, first, last, &pages)
		othersIn(&tab, first, last, &pages, &others)
		a, b := 512, -1
		for i, v := range tab {
			in, e := i >= first && i <= last, x86.PTE(v)
			for _, c := range []struct {
				name      string
				got, want bool
			}{
				{"having", has.Has(i), in && v&mask != 0},
				{"pagesIn", pages.Has(i), in && e.Present()},
				{"pagesHaving", both.Has(i), in && e.Present() && v&mask != 0},
				{"othersIn", others.Has(i), in && !e.Present() && !e.None()},
			} {
				if c.got != c.want {
					t.Fatalf("%s: entry %d of %d to %d, %#x, mask %#x: %v", c.name, i, first, last, v, mask, c.got)
				}
			}
			if has.Has(i) {
				a, b = min(a, i), i
			}
		}
		if gotA, gotB := enclose(&has); gotA != a || gotB != b {
			t.Fatalf("enclose: %d to %d, want %d to %d", gotA, gotB, a, b)
		}
	}
}
