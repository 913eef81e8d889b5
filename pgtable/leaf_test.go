package pgtable_test

import (
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// TestLeaf holds Leaf against Walk: pages, huge pages of both sizes, holes at every level, addresses beyond the limit.
func TestLeaf(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, levels := range []int{4, 5} {
		tree := newTree(t, x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(levels)), 4096)
		var mapped []x86.Virt
		for range 100 {
			va := x86.Virt(rnd.IntN(1<<21)) * pageSize // 8 GiB
			if err := tree.Map(pgtable.Range{First: va, Last: va + pageSize - 1}, x86.PFN(rnd.IntN(1<<20)), x86.ProtShared); err != nil {
				t.Fatal(err)
			}
			mapped = append(mapped, va)
		}
		pmd := lockPMDs(t, tree, 20<<30)
		pmd.Set(0, x86.MkPMD(tree.ABI(), 512, x86.ProtShared).MkHuge())
		pmd.Set(1, x86.MkPMD(tree.ABI(), 1024, 0).MkHuge())
		pmd.Unlock()
		pud := lockPUDs(t, tree, 21<<30)
		pud.Set(21, x86.MkPUD(tree.ABI(), 512*512, x86.ProtShared).MkHuge())
		pud.Unlock()
		for range 5000 {
			va := x86.Virt(rnd.Uint64()) % tree.Limit()
			switch rnd.IntN(4) {
			case 0:
				va = mapped[rnd.IntN(len(mapped))] + va%pageSize
			case 2:
				va %= 8 << 30
			case 1:
				va = 20<<30 + va%(3<<30)
				if rnd.IntN(2) == 0 {
					va &^= 0x3fc00000 // near the huge pages
				}
			}
			path := tree.Walk(va, nil)
			want := path[len(path)-1]
			if e, l := tree.Leaf(va); e != want.Value || l != want.Level {
				t.Fatalf("%v: %#x of level %v, want %#x of %v", va, e, l, want.Value, want.Level)
			}
		}
		for _, va := range []x86.Virt{tree.Limit(), tree.Limit() + pageSize, ^x86.Virt(0), 1<<63 | mapped[0]} {
			if e, _ := tree.Leaf(va); e != 0 {
				t.Errorf("%v: %#x, beyond the limit", va, e)
			}
		}
	}
}
