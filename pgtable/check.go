package pgtable

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// CheckError is something that must hold in a tree, and does not.
type CheckError struct {
	VA    x86.Virt  // first address of the table, or that the slot translates
	Level x86.Level // of the table's entries
	Table x86.PFN
	Slot  int // -1: the table as a whole
	What  string
}

func (e *CheckError) Error() string {
	where := fmt.Sprintf("pgtable: %v table in frame %#x for %v", e.Level, uint64(e.Table), e.VA)
	if e.Slot >= 0 {
		where += fmt.Sprintf(", slot %d", e.Slot)
	}
	return where + ": " + e.What
}

// maxFindings bounds what Check reports.
const maxFindings = 100

// Check walks the whole tree and returns everything that is broken, as joined [*CheckError]s: tables that are linked
// twice, outside the memory or freed, entries that point to tables with other flags than Linux gives them, locks left
// held, counts that are wrong, tables that hang nowhere, gathers not finished. Nobody may use the tree meanwhile.
func (t *Tree) Check() error {
	c := checker{t: t, seen: map[x86.PFN]bool{}}
	if n := t.flush.count(); n != 0 {
		c.report(t.root, 0, t.top, -1, "%d gathers not finished", n)
	}
	if t.upper.TryLock() {
		t.upper.Unlock()
	} else {
		c.report(t.root, 0, t.top, -1, "lock of the upper tables left held")
	}
	c.table(t.root, t.top, 0)
	c.leaks()
	for l := x86.LevelPTE; l <= t.top; l++ {
		if n := t.tables[l].Load(); n != c.count[l] {
			c.report(t.root, 0, l, -1, "%d tables of this level counted, %d found", n, c.count[l])
		}
	}
	return errors.Join(c.found...)
}

type checker struct {
	t     *Tree
	seen  map[x86.PFN]bool
	count [x86.LevelPGD + 1]int64
	found []error
}

func (c *checker) report(pfn x86.PFN, va x86.Virt, l x86.Level, slot int, format string, args ...any) {
	if len(c.found) < maxFindings {
		c.found = append(c.found, &CheckError{va, l, pfn, slot, fmt.Sprintf(format, args...)})
	}
}

// enter checks that frame pfn may be a table of level l, in state k.
func (c *checker) enter(pfn x86.PFN, l x86.Level, va x86.Virt, k kind) bool {
	use, allocated := c.t.ram.UseOf(pfn)
	switch {
	case !c.t.ram.Contains(pfn):
		c.report(pfn, va, l, -1, "frame is outside the memory")
		return false
	case !allocated || use != physmem.UseTable:
		c.report(pfn, va, l, -1, "frame is not allocated as a table")
		return false
	case c.seen[pfn]:
		c.report(pfn, va, l, -1, "table is linked twice")
		return false
	}
	c.seen[pfn] = true
	s := c.t.state(pfn)
	if s.lock != 0 {
		c.report(pfn, va, l, -1, "lock left held")
	}
	if s.parent != 0 && (k != kindLinked || l != x86.LevelPTE) {
		c.report(pfn, va, l, -1, "state says that it is linked %d frames from here", s.parent)
	}
	if s.tree != c.t.id || s.level != l || s.kind != k || k == kindLinked && s.va != va {
		c.report(pfn, va, l, -1, "state says: tree %d, %v table, kind %d, for %v; want tree %d, kind %d",
			s.tree, s.level, s.kind, s.va, c.t.id, k)
		return false
	}
	c.count[l]++
	return true
}

// table checks table pfn and all below.
func (c *checker) table(pfn x86.PFN, l x86.Level, va x86.Virt) {
	if !c.enter(pfn, l, va, kindLinked) {
		return
	}
	s, tab := c.t.state(pfn), c.t.ram.Table(pfn)
	if n := countUsed(tab); n != s.used {
		c.report(pfn, va, l, -1, "%d entries in use, %d counted", n, s.used)
	}
	if l == x86.LevelPTE {
		return
	}
	for i, e := range tab {
		at := va + x86.Virt(i)<<l.Shift()
		switch {
		case pointsToTable(l, e):
			child := c.t.abi.TableFrame(e)
			if flags := e ^ c.t.pointer(child); flags&^x86.PageAccessed != 0 {
				c.report(pfn, at, l, i, "entry %#x points to a table with flags that no table has: %#x", e, flags)
			}
			c.table(child, l-1, at)
			if l == x86.LevelPMD && c.seen[child] && c.t.state(child).above() != s {
				c.report(pfn, at, l, i, "the table's state says that another pmd table points to it")
			}
		case l > x86.LevelPUD && usedEntry(e), l == x86.LevelPUD && usedEntry(e) && e&x86.PagePSE == 0:
			c.report(pfn, at, l, i, "entry %#x is neither empty nor a table", e)
		case e&x86.PagePresent != 0:
			c.leaf(pfn, at, l, i, e)
		}
	}
	c.deposits(pfn, l, va, s)
}

// leaf checks the frame of a present leaf above the PTEs.
func (c *checker) leaf(pfn x86.PFN, va x86.Virt, l x86.Level, slot int, e uint64) {
	a := c.t.abi
	if low := e & (a.FrameMask(x86.LevelPTE) &^ a.FrameMask(l)) &^ x86.PagePATLarge; low != 0 {
		c.report(pfn, va, l, slot, "leaf %#x has a frame that is not one of its size", e)
	}
}

func (c *checker) deposits(pfn x86.PFN, l x86.Level, va x86.Virt, s *state) {
	n, next := uint32(0), s.deposit
	for ; n < s.deposits && next != 0; n++ {
		d := c.t.numbered(next)
		if !c.enter(d, x86.LevelPTE, va, kindDeposited) {
			return
		}
		next = c.t.state(d).deposit
	}
	if n != s.deposits || next != 0 {
		c.report(pfn, va, l, -1, "%d deposited tables counted, the list has %d", s.deposits, n)
	}
}

// leaks looks for tables of the tree that it does not lead to.
func (c *checker) leaks() {
	c.t.ram.EachAllocated(func(pfn x86.PFN, u physmem.Use) bool {
		if s := c.t.state(pfn); u == physmem.UseTable && !c.seen[pfn] && s.tree == c.t.id {
			c.count[s.level]++
			c.report(pfn, s.va, s.level, -1, "table is lost: nothing leads to it (kind %d)", s.kind)
		}
		return true
	})
}
