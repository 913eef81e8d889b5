package physmem

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ptemu/arch/x86"
)

func TestFrames(t *testing.T) {
	for _, c := range []struct {
		r          Range
		first, end x86.PFN
	}{
		{Range{0, 0}, 0, 0},
		{Range{0, 4096}, 0, 1},
		{Range{1, 4096}, 1, 1},
		{Range{1, 4097}, 1, 1},
		{Range{1, 2}, 1, 1},
		{Range{4095, 8193}, 1, 2},
		{Range{0x1000, 0x9fc00}, 1, 0x9f},
		{Range{math.MaxUint64 - 1, math.MaxUint64}, 1 << 52, 1 << 52},
	} {
		if first, end := c.r.Frames(); first != c.first || end != c.end {
			t.Errorf("%v: frames %#x-%#x, want %#x-%#x", c.r, first, end, c.first, c.end)
		}
	}
}

// bytesOf is a set of ranges the slow way: one bool for each address below 64.
func bytesOf(rs []Range) (b [64]bool) {
	for _, r := range rs {
		for p := r.Start; p < r.End; p++ {
			b[p] = true
		}
	}
	return b
}

func drawRanges(t *rapid.T, label string) []Range {
	r := rapid.Custom(func(t *rapid.T) Range {
		return Range{x86.Phys(rapid.IntRange(0, 63).Draw(t, "start")), x86.Phys(rapid.IntRange(0, 64).Draw(t, "end"))}
	})
	return rapid.SliceOfN(r, 0, 8).Draw(t, label)
}

func checkNormal(t *rapid.T, rs []Range) {
	for i, r := range rs {
		if r.Start >= r.End || i > 0 && r.Start <= rs[i-1].End {
			t.Fatalf("not normal: %v", rs)
		}
	}
}

func TestSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawRanges(t, "a"), drawRanges(t, "b")
		before := slices.Clone(a)
		na, nb := Normalize(a), Normalize(b)
		if !slices.Equal(a, before) {
			t.Fatalf("Normalize changed its argument")
		}
		both := Intersect(na, nb)
		checkNormal(t, na)
		checkNormal(t, both)
		inA, inB, inBoth := bytesOf(a), bytesOf(b), bytesOf(both)
		if bytesOf(na) != inA {
			t.Fatalf("Normalize(%v) = %v", a, na)
		}
		var total uint64
		for p := range x86.Phys(64) {
			if inBoth[p] != (inA[p] && inB[p]) {
				t.Fatalf("Intersect(%v, %v) = %v", na, nb, both)
			}
			if i, ok := FindRange(na, p); ok != inA[p] || ok && !na[i].Contains(p) || i < len(na) && na[i].End <= p || i > 0 && na[i-1].End > p {
				t.Fatalf("FindRange(%v, %d) = %d, %v", na, p, i, ok)
			}
			if inA[p] {
				total++
			}
		}
		if TotalLen(na) != total {
			t.Fatalf("TotalLen(%v) = %d", na, TotalLen(na))
		}
	})
}
