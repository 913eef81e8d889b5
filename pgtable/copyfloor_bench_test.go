//go:build amd64 && !purego

package pgtable_test

import (
	"testing"

	"golang.org/x/sys/cpu"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan/floor"
	"ptemu/physmem"
)

// BenchmarkForkFloor is what BenchmarkFork is held against: tables of the same memory read, rewritten and copied with
// the fewest instructions, without finding or allocating any.
func BenchmarkForkFloor(b *testing.B) {
	if !cpu.X86.HasAVX512F {
		b.Skip("the floor is written with AVX-512")
	}
	for _, c := range forkSizes {
		tree := newTree(b, abi7(), uint64(c.tables)*2+1024)
		for _, v := range []struct {
			name string
			copy func(t, child *floor.Table, x uint64)
		}{{"", floor.CopyAVX512}, {"/stream", floor.CopyAVX512Stream}} {
			b.Run(c.name+v.name, func(b *testing.B) {
				var parent, child []*floor.Table
				for range c.tables {
					for _, l := range []*[]*floor.Table{&parent, &child} {
						pfn, err := tree.RAM().Alloc(physmem.UsePage)
						if err != nil {
							b.Fatal(err)
						}
						b.Cleanup(func() { tree.RAM().Free(pfn) })
						*l = append(*l, (*floor.Table)(tree.RAM().Table(pfn)))
					}
				}
				for b.Loop() {
					for i, t := range parent {
						v.copy(t, child[i], x86.PageRW)
					}
				}
				perPTE(b, c.tables)
			})
		}
	}
}
