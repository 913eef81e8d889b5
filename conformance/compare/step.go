package compare

import (
	"fmt"
	"strconv"

	"ptemu/arch/x86"
)

// comparer goes through two records side by side.
type comparer struct {
	a, b        side
	before      pairs // of the step before
	differences []Difference
}

// pairs says which place of one machine is which of the other.
type pairs struct {
	ab, ba map[place]place
}

func newPairs() pairs { return pairs{map[place]place{}, map[place]place{}} }

// step compares a step and returns how many entries that were.
func (c *comparer) step(i int, a, b *Step) (entries int) {
	add := func(what, x, y string) {
		c.differences = append(c.differences, Difference{Step: i, Line: a.Line, Row: -1, What: what, A: x, B: y})
	}
	if !a.Did || !b.Did {
		return 0
	}
	if x, y := ended(a), ended(b); x != y {
		add("ends", x, y)
	}
	if len(a.Entries) != len(b.Entries) {
		add("rows", strconv.Itoa(len(a.Entries)), strconv.Itoa(len(b.Entries)))
		return 0
	}
	now := newPairs()
	for r := range a.Entries {
		rowA, rowB := &a.Entries[r], &b.Entries[r]
		for k := range rowA.Entries {
			entries++
			if what := c.entry(rowA.Entries[k], rowB.Entries[k], k, &now); what != "" {
				c.differences = append(c.differences, Difference{
					Step: i, Line: a.Line, Row: r, Page: k, Place: fmt.Sprintf("%s: %s %d", rowA.Process, rowA.Region, k), What: what,
					A: c.a.describe(rowA.Entries[k]), B: c.b.describe(rowB.Entries[k]),
				})
			}
		}
	}
	c.before = now
	return entries
}

// ended puts an outcome into words. Page faults count for accesses only: of calls they are the kernel's own affair.
func ended(s *Step) string {
	o := &s.Outcome
	access := s.Line.Op.Verb == "read" || s.Line.Op.Verb == "write"
	switch {
	case o.Faults != "":
		return "faults " + o.Faults
	case o.Errno != "":
		return "fails " + o.Errno
	case o.Wrong != "":
		return "reads something else"
	case o.Taken > 0 && access:
		return "well, after a page fault"
	}
	return "well"
}

// entry compares two entries, of page k of a region, and returns in what they differ.
func (c *comparer) entry(a, b Leaf, k int, now *pairs) string {
	bareA, placeA, namedA := c.a.split(a)
	bareB, placeB, namedB := c.b.split(b)
	switch {
	case bareA.kind != bareB.kind || bareA.level != bareB.level:
		return "kind"
	case bareA != bareB:
		return "bits"
	case namedA != namedB:
		return "frame"
	case !namedA:
		return ""
	}
	if a.Level == x86.LevelPMD { // the frame of this page
		placeA.number += uint64(k % x86.EntriesPerTable)
		placeB.number += uint64(k % x86.EntriesPerTable)
	}
	return c.same(placeA, placeB, now)
}

// same notes that two places are the same, and returns why they cannot be.
func (c *comparer) same(a, b place, now *pairs) string {
	if other, ok := now.ab[a]; ok && other != b {
		return "frame: shared on the first only"
	}
	if other, ok := now.ba[b]; ok && other != a {
		return "frame: shared on the second only"
	}
	now.ab[a], now.ba[b] = b, a
	if other, ok := c.before.ab[a]; ok && other != b {
		return "frame: moved on the second only"
	}
	if other, ok := c.before.ba[b]; ok && other != a {
		return "frame: moved on the first only"
	}
	return ""
}
