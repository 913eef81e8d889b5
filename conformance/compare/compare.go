// Package compare runs one litmus program on two targets and compares the entries after every step, all bits.
//
// Frame numbers and swap slots differ between machines, so they are compared by identity: after each step, entries of one
// machine name the same frame exactly where those of the other do; a place that names another frame than before the step
// does so on both; and where an operation frees nothing, every frame stays what it was, wherever it goes. Everything else of an entry must be equal: what is under the frame's bits is masked
// out only after the decoder has said that they are a frame. What an operation ends with must be equal too.
//
// Only the first step with differences counts. What comes after it is a consequence.
package compare

import (
	"fmt"
	"maps"
	"slices"

	"ptemu/arch/x86"
	"ptemu/litmus"
	"ptemu/swapentry"
)

// Difference is one thing in which the targets differ.
type Difference struct {
	Step  int // index in the records
	Line  *litmus.Step
	Place string // "p: a 3", "" for what the operation ended with
	Row   int    // of the records' entries, -1 without a place
	Page  int
	What  string
	A, B  string
}

func (d *Difference) String() string {
	s := fmt.Sprintf("%v: %s\n    ", d.Line.Pos, d.Line)
	if d.Place != "" {
		s += d.Place + ": "
	}
	return s + fmt.Sprintf("%s: %s, %s", d.What, d.A, d.B)
}

// Counts says how much was compared.
type Counts struct {
	Programs, NotHere, Steps, Entries, Differences int
	Tolerated                                      map[string]int // by the names of [Tolerances]
}

// Add adds the counts of another.
func (c *Counts) Add(o Counts) {
	c.Programs += o.Programs
	c.NotHere += o.NotHere
	c.Steps += o.Steps
	c.Entries += o.Entries
	c.Differences += o.Differences
	for name, n := range o.Tolerated {
		if c.Tolerated == nil {
			c.Tolerated = map[string]int{}
		}
		c.Tolerated[name] += n
	}
}

func (c Counts) String() string {
	s := fmt.Sprintf("%d programs (%d more cannot run), %d steps, %d entries compared, %d differences",
		c.Programs, c.NotHere, c.Steps, c.Entries, c.Differences)
	for _, name := range slices.Sorted(maps.Keys(c.Tolerated)) {
		s += fmt.Sprintf(", %d times %s", c.Tolerated[name], name)
	}
	return s
}

// Compare compares two records of the same program, and returns the differences of the first step that has some.
func Compare(a, b *Record) ([]Difference, Counts) {
	if a.NotHere != "" || b.NotHere != "" {
		return nil, Counts{NotHere: 1}
	}
	c := &comparer{passed: map[string]int{}, a: side{abi: a.abi, layout: swapentry.NewLayout(a.abi)}, b: side{abi: b.abi, layout: swapentry.NewLayout(b.abi)}}
	counts := Counts{Programs: 1, Tolerated: c.passed}
	for i := 0; i < len(a.Steps) && i < len(b.Steps); i++ {
		counts.Steps++
		counts.Entries += c.step(i, &a.Steps[i], &b.Steps[i])
		if len(c.differences) > 0 {
			counts.Differences = 1
			break
		}
	}
	return c.differences, counts
}

// side is one of the two machines.
type side struct {
	abi    *x86.ABI
	layout *swapentry.Layout
}

// place is a frame or a swap slot.
type place struct {
	slot   bool
	number uint64
}

// bare is an entry without its frame or slot.
type bare struct {
	level x86.Level
	kind  swapentry.Kind
	rest  uint64
	entry swapentry.Entry
}

// split takes an entry apart. named is false if it names no place.
func (s *side) split(l Leaf) (b bare, p place, named bool) {
	d := s.layout.Decode(l.Level, l.Raw)
	b = bare{level: l.Level, kind: d.Kind}
	switch {
	case d.Kind == swapentry.KindPresent:
		pfn := x86.PTE(l.Raw).PFN(s.abi)
		if l.Level == x86.LevelPMD {
			pfn = x86.PMD(l.Raw).PFN(s.abi)
		}
		b.rest = l.Raw &^ s.abi.FrameMask(l.Level)
		return b, place{number: uint64(pfn)}, true
	case d.Kind == swapentry.KindNone || d.Kind == swapentry.KindUnknown:
		b.rest = l.Raw
		return b, place{}, false
	case d.Kind.HasPFN():
		p, named = place{number: uint64(d.PFN)}, true
		d.PFN, d.Offset = 0, 0
	case d.Kind == swapentry.KindSwap:
		p, named = place{slot: true, number: d.Offset}, true
		d.Offset = 0
	}
	if d.Kind != swapentry.KindSwap {
		d.Type = 0 // where the types of a kind begin depends on the kernel's configuration; Kind says the same
	}
	b.entry = d
	return b, p, named
}

func (s *side) describe(l Leaf) string {
	d := s.layout.Decode(l.Level, l.Raw)
	text := fmt.Sprintf("%#016x", l.Raw)
	if l.Level != x86.LevelPTE {
		text += " " + l.Level.String()
	}
	return text + " " + d.Kind.String()
}
