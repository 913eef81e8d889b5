package audit

import (
	"sort"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
)

// frameSpan is frames from First up to, not including, End.
type frameSpan struct{ First, End x86.PFN }

// frameSpans are ascending and disjoint.
type frameSpans []frameSpan

// maxRanges is more pieces than RAM is in, and the read-only parts of the direct map are.
const maxRanges = 1 << 20

// add appends frames that lie behind all others. False if there is no room.
func (r *frameSpans) add(first, end x86.PFN) bool {
	if n := len(*r); n > 0 && (*r)[n-1].End >= first {
		(*r)[n-1].End = max((*r)[n-1].End, end)
		return true
	}
	if len(*r) == maxRanges {
		return false
	}
	*r = append(*r, frameSpan{first, end})
	return true
}

// has reports whether frame f is in one of the ranges.
func (r frameSpans) has(f x86.PFN) bool {
	i := sort.Search(len(r), func(i int) bool { return r[i].End > f })
	return i < len(r) && r[i].First <= f
}

// gap returns the first frame in [first, end) that is in none of the ranges.
func (r frameSpans) gap(first, end x86.PFN) (x86.PFN, bool) {
	for _, x := range r[sort.Search(len(r), func(i int) bool { return r[i].End > first }):] {
		if x.First > first {
			break
		}
		first = x.End
	}
	return first, first < end
}

// ramMap is where RAM is, as the direct map says: Linux maps all of it there, and no device. What it cannot be asked of,
// because a table is missing, counts as RAM.
type ramMap struct {
	known    bool
	ranges   frameSpans
	readOnly frameSpans // not writable through the direct map
	overflow bool       // not all ranges were kept
}

// add takes what the direct map maps behind all that it was told of before.
func (m *ramMap) add(first, end x86.PFN, readOnly bool) {
	ok := m.ranges.add(first, end)
	if readOnly {
		ok = m.readOnly.add(first, end) && ok
	}
	m.overflow = m.overflow || !ok
}

// tracked reports whether state is kept for the frame.
func (m *ramMap) tracked(f x86.PFN) bool { return !m.known || m.ranges.has(f) }

// outside reports that the frame is not RAM.
func (m *ramMap) outside(f x86.PFN) bool { return m.known && !m.ranges.has(f) }

// outsideAny reports that a page has frames that are not RAM, and the first such.
func (m *ramMap) outsideAny(l *tree.Leaf) (x86.PFN, bool) {
	if !m.known {
		return 0, false
	}
	return m.ranges.gap(l.PFN, l.PFN+x86.PFN(l.Level.Size()/x86.PageSize))
}
