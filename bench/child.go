package bench

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// second makes another tree with as many empty tables, in the same memory.
func (s *Set) second() (*Set, error) {
	o := &Set{Bytes: s.Bytes, Order: s.Order, RAM: s.RAM, Layout: s.Layout, Range: s.Range}
	return o, o.build(len(s.Tables))
}

// snapshot keeps what the tables of s hold and puts it back.
type snapshot struct {
	s     *Set
	saved []physmem.Table
}

func (s *Set) snapshot() *snapshot {
	n := &snapshot{s: s, saved: make([]physmem.Table, len(s.Tables))}
	for i, t := range s.Tables {
		n.saved[i] = *t
	}
	return n
}

func (n *snapshot) restore() {
	for i, t := range n.s.Tables {
		*t = n.saved[i]
	}
	n.s.Recount()
}

// gathered runs an operation between the start and the end of a gather.
func (s *Set) gathered(g *pgtable.Gather, op func(g *pgtable.Gather) error) error {
	g.Start(s.Tree, nil)
	err := op(g)
	if e := g.Finish(); err == nil {
		err = e
	}
	return err
}

// someTables walks over a part of the tables at a time, so that slow variants take bearable time on large sets and
// still find cold tables.
type someTables struct {
	s    *Set
	n    int // tables a pass
	next int
}

func (s *Set) some(atMost int) *someTables { return &someTables{s: s, n: min(len(s.Tables), atMost)} }

// pass returns the tables for a pass, the same for a pass 0 and the pass 1 that follows.
func (w *someTables) pass(odd int) (first, last int) {
	first = w.next
	if odd == 1 {
		w.next = (w.next + w.n) % len(w.s.Tables)
		if w.next+w.n > len(w.s.Tables) {
			w.next = 0
		}
	}
	return first, first + w.n
}

func (w *someTables) ptes() int { return w.n * x86.EntriesPerTable }
