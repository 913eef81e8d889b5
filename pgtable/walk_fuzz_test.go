package pgtable

import (
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/pttree"
)

// FuzzWalk walks memory of arbitrary bytes: it ends, keeps its promises, and the visits stay in the bound.
func FuzzWalk(f *testing.F) {
	entry := func(frame x86.PFN, flags uint64) []byte {
		e := uint64(frame.Phys()) | flags
		return []byte{byte(e), byte(e >> 8), byte(e >> 16), byte(e >> 24), byte(e >> 32), byte(e >> 40), byte(e >> 48), byte(e >> 56)}
	}
	f.Add([]byte{}, false, uint64(0), uint64(0))
	f.Add(entry(1, table), true, uint64(0), ^uint64(0))
	f.Add(append(entry(2, table), make([]byte, 8184)...), false, uint64(0), ^uint64(0))
	f.Add(slices.Repeat(entry(2, table), 1024), true, uint64(1<<40), ^uint64(0))
	f.Fuzz(func(t *testing.T, data []byte, five bool, first, last uint64) {
		if len(data) > 64*x86.PageSize {
			return
		}
		levels := 4
		if five {
			levels = 5
		}
		// Frames are folded onto the few that there are, or every entry would lead nowhere.
		m := pttree.FromBytes(1, data)
		n := x86.PFN(len(data)/x86.PageSize + 2)
		for i := x86.PFN(1); i < n; i++ {
			t := m.At(i)
			for j, e := range t {
				t[j] = e&^(1<<52-4096) | uint64((x86.Phys(e).PFN() % (n + 1)).Phys())
			}
		}
		c := &collector{t: t, r: Range{x86.Virt(first), x86.Virt(last)}, forget: true}
		const free = 64
		if err := walk(m, abiOf(levels), 1, c.r, c, free); err != nil {
			t.Fatal(err)
		}
		if bound := free + (repeatsPerTable+1)*int(n); c.read > bound {
			t.Errorf("%d visits of %d tables", c.read, n)
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	m := pttree.New(1)
	root := m.Table()
	const pages = 1 << 18
	for i := range pages {
		m.Map(root, 4, x86.Virt(i<<12), x86.LevelPTE, uint64(i)<<12|0x25, table)
	}
	b.SetBytes(pages * 8)
	for b.Loop() {
		c := &counter{}
		if err := Walk(m, abiOf(4), root, All, c); err != nil || c.leaves != pages {
			b.Fatal(err, c.leaves)
		}
	}
}
