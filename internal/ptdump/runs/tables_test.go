package runs

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
)

// stretches fills a table with stretches of entries that continue one another, more or less: consecutive frames, also
// where the frame carries into reserved bits or wraps, with some bits off.
func stretches(r *rand.Rand, put func(uint64)) {
	flags := []uint64{0x8000000000000025, 0x8000000000000065, 0x8400000000000025, 0x027, 0x120, 0x960, 0x8000000000000425}
	frames := []uint64{0x12345, 1<<34 - 20, 1<<40 - 20, 0}
	for n := 0; n < 512; {
		at, frame := flags[r.IntN(len(flags))], frames[r.IntN(len(frames))]+uint64(r.IntN(3))
		off := r.IntN(4)
		for range 1 + r.IntN(100) {
			if n++; n > 512 {
				return
			}
			f := frame
			if at&x86.PagePresent == 0 {
				f = ^f
			}
			e := at | f<<12&(1<<52-1)
			switch {
			case off == 0 && r.IntN(10) == 0:
				e ^= x86.PageAccessed
			case off == 1 && r.IntN(10) == 0:
				e ^= 1 << r.IntN(64)
			case off == 2 && r.IntN(10) == 0:
				frame = uint64(r.IntN(1 << 20))
			}
			put(e)
			frame++
		}
	}
}

// TestRunsOfStretches: the ranges of tables in which much continues are the leaves merged one by one, whatever part of
// the tables is asked for.
func TestRunsOfStretches(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range 60 {
		m := pttree.New(0x100)
		root := m.Table()
		va := x86.Virt(0)
		for range 3 {
			stretches(r, func(e uint64) {
				m.Map(root, 4, va, x86.LevelPTE, e, x86.PageTable)
				va += x86.PageSize
			})
		}
		p := x86.DefaultPaging(4)
		p.PhysBits = []uint8{46, 52}[i%2]
		p.ShadowStack = i%3 == 0
		for _, k := range x86.Kernels() {
			s := capturetest.TreeOf(m, root, k, p)
			f := tree.Filter{First: x86.Virt(r.IntN(600)) * x86.PageSize, Last: va - 1 - x86.Virt(r.IntN(600))*x86.PageSize}
			var entries capturetest.Leaves
			if err := s.Walk(f, &entries); err != nil {
				t.Fatal(err)
			}
			var got ranges
			if err := Walk(s, f, nil, &got); err != nil {
				t.Fatal(err)
			}
			sameRuns(t, got.all, naiveRuns(s.ABI, nil, entries.All), fmt.Sprintf("seed %#x, round %d, %s", seed, i, k.Release))
		}
	}
}
