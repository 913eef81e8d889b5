package pgtable

import (
	"testing"

	"ptemu/arch/x86"
)

// TestFrameSet: the set is exact for the first 256 GiB, and 256 GiB further up every frame has the same place again.
func TestFrameSet(t *testing.T) {
	const gib256 = 256 << 30 >> x86.PageShift
	var s frameSet
	have := map[x86.PFN]bool{}
	f := x86.PFN(1)
	for range 5000 { // all over the range, with many neighbours
		f = (f*2862933555777941757 + 3037000493) % gib256
		s.add(f)
		have[f] = true
		for _, g := range []x86.PFN{f, f ^ 1, f ^ 32, f ^ 64, f ^ 1<<15} {
			if s.has(g) != have[g] {
				t.Fatalf("frame %#x: %v, with %#x added last", uint64(g), s.has(g), uint64(f))
			}
		}
		if !s.has(f+gib256) || !s.has(f|1<<39) {
			t.Fatalf("frame %#x was added", uint64(f))
		}
	}
}
