package pgtable_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// benchTree returns a tree with n full PTE tables, and the range that they map.
func benchTree(b *testing.B, n int) (*pgtable.Tree, pgtable.Range) {
	b.Helper()
	tree := newTree(b, abi7(), uint64(n)*2+1024)
	const first = 0x40000000
	r := pgtable.Range{First: first, Last: first + x86.Virt(n)*tableSpan - 1}
	if err := tree.Map(r, 0x100000, x86.ProtShared); err != nil {
		b.Fatal(err)
	}
	return tree, r
}

// BenchmarkOneEntry locks the table of a random page from the root, changes the entry and unlocks.
func BenchmarkOneEntry(b *testing.B) {
	for _, c := range []struct {
		name   string
		tables int
	}{{"L2", 64}, {"L3", 2048}} {
		b.Run(c.name, func(b *testing.B) {
			tree, r := benchTree(b, c.tables)
			var at [4096]x86.Virt
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range at {
				at[i] = r.First + x86.Virt(rnd.IntN(c.tables*512))*pageSize
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				va := at[i%len(at)]
				c, err := tree.LockPTEs(va, false)
				if err != nil {
					b.Fatal(err)
				}
				slot := va.Index(x86.LevelPTE)
				c.Set(slot, c.Get(slot)^x86.PageAccessed)
				c.Unlock()
				i++
			}
		})
	}
}

// perPTE reports the time for one entry.
func perPTE(b *testing.B, tables int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(tables*512), "ns/pte")
}

// BenchmarkMap maps and unmaps; only the mapping is timed.
func BenchmarkMap(b *testing.B) {
	const tables = 64
	tree, r := benchTree(b, tables)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		if err := tree.Unmap(r, nil); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := tree.Map(r, 0x100000, x86.ProtShared); err != nil {
			b.Fatal(err)
		}
	}
	perPTE(b, tables)
}

func benchmarkOp(b *testing.B, tables int, op func(tree *pgtable.Tree, g *pgtable.Gather, r pgtable.Range) error) {
	tree, r := benchTree(b, tables)
	var g pgtable.Gather
	b.ReportAllocs()
	for b.Loop() {
		g.Start(tree, nil)
		if err := op(tree, &g, r); err != nil {
			b.Fatal(err)
		}
		if err := g.Finish(); err != nil {
			b.Fatal(err)
		}
	}
	perPTE(b, tables)
}

func BenchmarkZap(b *testing.B) {
	const tables = 64
	tree, r := benchTree(b, tables)
	var g pgtable.Gather
	z := pgtable.Zap{}
	b.ReportAllocs()
	for b.Loop() {
		g.Start(tree, nil)
		if err := tree.Zap(&g, r, &z); err != nil {
			b.Fatal(err)
		}
		if err := g.Finish(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := tree.Map(r, 0x100000, x86.ProtShared); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	perPTE(b, tables)
}

func BenchmarkClearSoftDirty(b *testing.B) {
	var o pgtable.SoftDirty
	benchmarkOp(b, 64, func(t *pgtable.Tree, g *pgtable.Gather, r pgtable.Range) error { return t.ClearSoftDirty(g, r, &o) })
}

func BenchmarkYoung(b *testing.B) {
	benchmarkOp(b, 64, func(t *pgtable.Tree, _ *pgtable.Gather, r pgtable.Range) error {
		_, err := t.Young(r, true, nil, nil)
		return err
	})
}

// BenchmarkSmallRange is an operation on a few pages at a random place.
func BenchmarkSmallRange(b *testing.B) {
	for _, n := range []x86.Virt{1, 8} {
		b.Run(fmt.Sprintf("%dpages", uint64(n)), func(b *testing.B) {
			const tables = 64
			tree, r := benchTree(b, tables)
			var at [4096]x86.Virt
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range at {
				at[i] = r.First + x86.Virt(rnd.IntN(tables*64))*8*pageSize
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				va := at[i%len(at)]
				if _, err := tree.Young(pgtable.Range{First: va, Last: va + n*pageSize - 1}, true, nil, nil); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
