package pgtable_test

import (
	"testing"

	"ptemu/pgtable"
)

// forkSizes are numbers of tables that fit, with those of a child, into the second-level cache, the third, and neither.
var forkSizes = []struct {
	name   string
	tables int
}{{"L2", 64}, {"L3", 1024}, {"DRAM", 8192}}

// BenchmarkFork copies a full tree from the root to a new child, whose frames were used before.
func BenchmarkFork(b *testing.B) {
	for _, c := range forkSizes {
		b.Run(c.name, func(b *testing.B) { benchmarkFork(b, c.tables) })
	}
}

func benchmarkFork(b *testing.B, tables int) {
	tree, r := benchTree(b, tables)
	o := pgtable.Copy{COW: true}
	var g pgtable.Gather
	for b.Loop() {
		b.StopTimer()
		child, err := pgtable.New(tree.RAM(), tree.ABI())
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		g.Start(tree, nil)
		if err := tree.Copy(&g, child, r, &o); err != nil {
			b.Fatal(err)
		}
		if err := g.Finish(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := child.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	perPTE(b, tables)
}
