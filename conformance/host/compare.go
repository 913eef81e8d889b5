//go:build linux && amd64

package host

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/litmus"
	"ptemu/mm"
	"ptemu/swapentry"
)

// Difference is one thing in which the emulator and the running kernel differ.
type Difference struct {
	Line     *litmus.Step
	Place    string // "p: a 3", "" for what an operation ended with
	What     string
	Emulator string
	Host     string
}

func (d *Difference) String() string {
	s := fmt.Sprintf("%v: %s\n    ", d.Line.Pos, d.Line)
	if d.Place != "" {
		s += d.Place + ": "
	}
	return s + fmt.Sprintf("%s\n    emulator: %s\n    host:     %s", d.What, d.Emulator, d.Host)
}

// comparer goes through two records side by side: the emulator's first.
type comparer struct {
	has          *features
	passed       map[string]int // differences that are known, by name
	last         bool           // what follows cannot be compared
	before       pairs
	rows         map[string][2][]Page
	steps, pages int
	found        []Difference
}

func newComparer(f *features) *comparer {
	return &comparer{has: f, passed: map[string]int{}, before: newPairs()}
}

// pairs says which frame of one machine is which of the other.
type pairs struct {
	ab, ba map[x86.PFN]x86.PFN
}

func newPairs() pairs { return pairs{map[x86.PFN]x86.PFN{}, map[x86.PFN]x86.PFN{}} }

// keeps are the verbs that allocate no pages, so that every frame that is still mapped is what it was, wherever it is now.
var keeps = map[string]bool{"remap": true, "uffd-move": true, "protect": true, "clear-refs": true, "unmap": true}

// replaces are the verbs that free pages before they may allocate others at the same place.
var replaces = map[string]bool{"map": true}

// compare compares two records, up to the first step with differences: what comes after it is a consequence.
func (c *comparer) compare(a, b *record) {
	for i := 0; i < len(a.steps) && i < len(b.steps) && len(c.found) == 0 && !c.last; i++ {
		c.steps++
		c.step(&a.steps[i], &b.steps[i])
	}
	if len(c.found) == 0 && !c.last && len(a.steps) != len(b.steps) {
		last := a.steps[len(a.steps)-1].line
		c.found = append(c.found, Difference{Line: last, What: "steps", Emulator: fmt.Sprint(len(a.steps)), Host: fmt.Sprint(len(b.steps))})
	}
}

func (c *comparer) step(a, b *step) {
	if x, y := ended(a), ended(b); x != y && !c.tolerated(&a.line.Op, x, y) {
		c.found = append(c.found, Difference{Line: a.line, What: "ends otherwise", Emulator: x, Host: y})
		c.last = b.hangs
	}
	if c.last || len(a.rows) != len(b.rows) {
		return // a process more: it ended otherwise
	}
	now, rows := newPairs(), map[string][2][]Page{}
	for r := range a.rows {
		rowA, rowB := &a.rows[r], &b.rows[r]
		name := rowA.process + ": " + rowA.region
		rows[name] = [2][]Page{rowA.pages, rowB.pages}
		for k := range rowA.pages {
			c.pages++
			what := c.page(rowA, rowB, k)
			if what == "" {
				what = c.frame(rowA.pages[k], rowB.pages[k], &now, keeps[a.line.Op.Verb])
			}
			if last := c.rows[name]; what == "" && k < len(last[0]) && !replaces[a.line.Op.Verb] &&
				moved(last[0][k], rowA.pages[k]) != moved(last[1][k], rowB.pages[k]) {
				what = "frame: another than before on one only"
			}
			if what != "" {
				c.found = append(c.found, Difference{
					a.line, fmt.Sprintf("%s %d", name, k), what, describe(rowA.pages[k]), describe(rowB.pages[k]),
				})
			}
		}
	}
	c.before, c.rows = now, rows
}

// ended puts an outcome into words.
func ended(s *step) string {
	o := &s.outcome
	switch {
	case s.hangs:
		return "never"
	case o.Faults != "":
		return "faults " + o.Faults
	case o.Errno != "":
		return "fails " + o.Errno
	case o.Wrong != "":
		return "reads something else"
	}
	return "well"
}

// page compares all of page k but the frame, and returns in what it differs.
func (c *comparer) page(rowA, rowB *row, k int) string {
	a, b := rowA.pages[k], rowB.pages[k]
	x, y := a.Word.Parts(), b.Word.Parts()
	x.PFN, y.PFN = 0, 0
	x.SwapType, y.SwapType = 0, 0 // where the types of a kind begin depends on the kernel's configuration
	if !c.has.softDirty {
		x.SoftDirty, y.SoftDirty = false, false
		a.Scan, b.Scan = a.Scan&^mm.PageSoftDirty, b.Scan&^mm.PageSoftDirty
	}
	if a.Scan^b.Scan == mm.PageWritten && c.has.oldGuards && x.Guard && x.UffdWP && b.Scan&mm.PageWritten == 0 {
		c.passed[guardWrites]++
		a.Scan = b.Scan
	}
	switch {
	case x != y:
		return "pagemap"
	case a.Scan != b.Scan:
		return "PAGEMAP_SCAN"
	}
	return ""
}

// frame notes that two frames are the same, and returns why they cannot be.
func (c *comparer) frame(a, b Page, now *pairs, kept bool) string {
	x, y := a.Word.Parts(), b.Word.Parts()
	if !x.Present || !y.Present {
		return ""
	}
	switch {
	case clash(now.ab, x.PFN, y.PFN):
		return "frame: shared on the emulator only"
	case clash(now.ba, y.PFN, x.PFN):
		return "frame: shared on the host only"
	case kept && clash(c.before.ab, x.PFN, y.PFN):
		return "frame: was another on the host"
	case kept && clash(c.before.ba, y.PFN, x.PFN):
		return "frame: was another on the emulator"
	}
	now.ab[x.PFN], now.ba[y.PFN] = y.PFN, x.PFN
	return ""
}

func clash(m map[x86.PFN]x86.PFN, from, to x86.PFN) bool {
	other, ok := m[from]
	return ok && other != to
}

// moved reports that a place names a frame, and named another one before.
func moved(before, now Page) bool {
	x, y := before.Word.Parts(), now.Word.Parts()
	return x.Present && y.Present && x.PFN != y.PFN
}

// describe puts into words what a kernel tells of a page.
func describe(p Page) string {
	return swapentry.Pagemap(p.Word).String() + ", categories " + categoryNames(p.Scan)
}

var names = []string{"wpallowed", "written", "file", "present", "swapped", "pfnzero", "huge", "soft-dirty", "guard"}

func categoryNames(c mm.Category) string {
	s := ""
	for i, n := range names {
		if c>>i&1 != 0 {
			s += " " + n
		}
	}
	if s == "" {
		return "none"
	}
	return s[1:]
}
