package thp

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// BenchmarkSplitCollapse splits a huge page and collapses it again, locks and checks of the tree's state included.
func BenchmarkSplitCollapse(b *testing.B) {
	ram, err := physmem.NewRAM(0, 512)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ram.Close() })
	v := area(x86.Linux6_12())
	tree, err := pgtable.New(ram, v.abi())
	if err != nil {
		b.Fatal(err)
	}
	if err := v.Map(tree, at, leafRW); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := v.Split(tree, at, exclusive, false); err != nil || !r.Split {
			b.Fatal(r, err)
		}
		if err := v.Collapse(tree, at, 0x40000, func(pgtable.PTECursor) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
