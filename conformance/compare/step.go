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
	rows        map[string][2][]Leaf
	keeps       bool
	differences []Difference
	passed      map[string]int // tolerated differences, by name
}

// pairs says which place of one machine is which of the other.
type pairs struct {
	ab, ba map[place]place
}

func newPairs() pairs { return pairs{map[place]place{}, map[place]place{}} }

// keeps are the verbs that neither free nor allocate pages, so that every frame stays what it was, wherever it goes. After
// others a frame may have been freed and taken for something else.
var keeps = map[string]bool{"remap": true, "uffd-move": true, "fork": true, "protect": true, "clear-refs": true}

// step compares a step and returns how many entries that were.
func (c *comparer) step(i int, a, b *Step) (entries int) {
	add := func(what, x, y string) {
		c.differences = append(c.differences, Difference{Step: i, Line: a.Line, Row: -1, What: what, A: x, B: y})
	}
	if !a.Did || !b.Did {
		return 0
	}
	if x, y := ended(a), ended(b); x != y && !c.tolerated(a, x, y) {
		add("ends", x, y)
	}
	if len(a.Entries) != len(b.Entries) {
		add("rows", strconv.Itoa(len(a.Entries)), strconv.Itoa(len(b.Entries)))
		return 0
	}
	now, rows := newPairs(), map[string][2][]Leaf{}
	c.keeps = keeps[a.Line.Op.Verb]
	for r := range a.Entries {
		rowA, rowB := &a.Entries[r], &b.Entries[r]
		name := rowA.Process + ":" + rowA.Region
		last := c.rows[name]
		rows[name] = [2][]Leaf{rowA.Entries, rowB.Entries}
		for k := range rowA.Entries {
			entries++
			what := c.entry(rowA.Entries[k], rowB.Entries[k], k, &now)
			if what == "" && k < len(last[0]) && c.a.moved(last[0][k], rowA.Entries[k]) != c.b.moved(last[1][k], rowB.Entries[k]) {
				what = "frame: another than before on one only"
			}
			if what != "" {
				c.differences = append(c.differences, Difference{
					Step: i, Line: a.Line, Row: r, Page: k, Place: fmt.Sprintf("%s: %s %d", rowA.Process, rowA.Region, k), What: what,
					A: c.a.describe(rowA.Entries[k]), B: c.b.describe(rowB.Entries[k]),
				})
			}
		}
	}
	c.before, c.rows = now, rows
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
	if !c.keeps {
		return ""
	}
	if other, ok := c.before.ab[a]; ok && other != b {
		return "frame: moved on the second only"
	}
	if other, ok := c.before.ba[b]; ok && other != a {
		return "frame: moved on the first only"
	}
	return ""
}

// moved reports that a place in the tables names a frame and named another one before.
func (s *side) moved(before, now Leaf) bool {
	_, p, named := s.split(before)
	_, q, still := s.split(now)
	return named && still && before.Level == now.Level && p.slot == q.slot && p != q
}
