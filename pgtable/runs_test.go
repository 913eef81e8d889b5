package pgtable_test

import (
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// TestRuns holds the runs of random tables against the pages, one by one.
func TestRuns(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	abi, err := x86.NewABI(x86.Linux7_2(), x86.DefaultPaging(4))
	if err != nil {
		t.Fatal(err)
	}
	prots := []x86.Prot{x86.VMRead.PageProt(abi), (x86.VMRead | x86.VMWrite).PageProt(abi), x86.VMFlags(0).PageProt(abi)}
	for range 2000 {
		var tab physmem.Table
		var pages pgtable.Bitmap
		pfn, prot, chop := x86.PFN(rnd.IntN(1<<30)), prots[0], 1+rnd.IntN(40)
		for i := range tab {
			switch pfn++; rnd.IntN(chop) {
			case 0:
				pfn = x86.PFN(rnd.IntN(1 << 30))
			case 1:
				prot = prots[rnd.IntN(len(prots))]
			case 2:
				continue
			}
			e := x86.MkPTE(abi, pfn, prot)
			if rnd.IntN(chop) == 0 {
				e = e.MkSpecial()
			}
			if rnd.IntN(2) == 0 {
				e = e.MkYoung().MkSoftDirty()
			}
			tab[i] = uint64(e)
			if rnd.IntN(3*chop) > 0 {
				pages.Set(i)
			}
		}
		check(t, abi, &tab, &pages)
	}
}

func check(t *testing.T, abi *x86.ABI, tab *physmem.Table, pages *pgtable.Bitmap) {
	t.Helper()
	runs := pgtable.NewRuns(abi, tab, pages)
	at := 0 // all before is done
	for first, n := runs.Next(); n > 0; first, n = runs.Next() {
		e := x86.PTE(tab[first])
		for ; at < first; at++ {
			if pages.Has(at) {
				t.Fatalf("page %d is passed over", at)
			}
		}
		for i := range n {
			is := x86.PTE(tab[first+i])
			if !pages.Has(first+i) || is.PFN(abi) != e.PFN(abi)+x86.PFN(i) || is.Special() != e.Special() || is.Protnone() != e.Protnone() {
				t.Fatalf("slot %d, %#x, is in the run of %d slots from %d on, %#x", first+i, uint64(is), n, first, uint64(e))
			}
		}
		if at = first + n; at < x86.EntriesPerTable && pages.Has(at) {
			is, last := x86.PTE(tab[at]), x86.PTE(tab[at-1])
			if is.PFN(abi) == last.PFN(abi)+1 && is.Special() == last.Special() && is.Protnone() == last.Protnone() {
				t.Fatalf("the run of %d slots from %d on ends at %#x, before %#x", n, first, uint64(last), uint64(is))
			}
		}
	}
	for ; at < x86.EntriesPerTable; at++ {
		if pages.Has(at) {
			t.Fatalf("page %d is passed over", at)
		}
	}
}
