package physmem

import (
	"cmp"
	"slices"
	"sort"

	"ptemu/arch/x86"
)

// Frames returns the frames that lie wholly in the range: first, and one past the last. With none, both are equal.
func (r Range) Frames() (first, end x86.PFN) {
	first = r.Start.PFN()
	if r.Start.Offset() != 0 {
		first++
	}
	return first, max(first, r.End.PFN())
}

// Normalize returns the memory that rs cover together: ascending, disjoint, adjacent ranges joined, empty ones
// dropped. It does not change rs.
func Normalize(rs []Range) []Range {
	rs = slices.Clone(rs)
	slices.SortFunc(rs, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	out := rs[:0]
	for _, r := range rs {
		if r.End <= r.Start {
			continue
		}
		if n := len(out); n > 0 && r.Start <= out[n-1].End {
			out[n-1].End = max(out[n-1].End, r.End)
			continue
		}
		out = append(out, r)
	}
	return out
}

// FindRange returns the index of the range that contains p, or ok false and the index of the first range above p.
// The ranges must be as [Normalize] returns them.
func FindRange(rs []Range, p x86.Phys) (i int, ok bool) {
	i = sort.Search(len(rs), func(i int) bool { return rs[i].End > p })
	return i, i < len(rs) && rs[i].Contains(p)
}

// TotalLen returns the number of bytes in ranges that are disjoint.
func TotalLen(rs []Range) uint64 {
	var n uint64
	for _, r := range rs {
		n += r.Len()
	}
	return n
}

// Intersect returns the memory that is in both a and b, which must be as [Normalize] returns them. So is the result.
func Intersect(a, b []Range) []Range {
	var out []Range
	for len(a) > 0 && len(b) > 0 {
		both := Range{Start: max(a[0].Start, b[0].Start), End: min(a[0].End, b[0].End)}
		if both.Start < both.End {
			out = append(out, both)
		}
		if a[0].End < b[0].End {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
