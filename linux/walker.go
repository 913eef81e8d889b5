package linux

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// errBudget: the tables ask for more reading than a capture of a real kernel needs.
var errBudget = errors.New("too many tables")

// Budgets of tables read: for one layout, for judging one candidate of a scan of RAM, and for all of them together.
const (
	layoutBudget    = 1 << 14
	candidateBudget = 1 << 7
	scanBudget      = 1 << 16
)

// visitsPerRead bounds how often tables that were already read are looked at again.
const visitsPerRead = 16

// walker looks into tables, keeping the last table of each level, so that neighbours cost one read.
type walker struct {
	mem           physmem.Reader
	abi           *x86.ABI
	reads, visits int  // what is left of the budget
	missed        bool // some table could not be read
	last          [x86.LevelPGD + 1]struct {
		pfn   x86.PFN
		valid bool
		table physmem.Table
	}
}

func newWalker(mem physmem.Reader, abi *x86.ABI, budget int) *walker {
	w := &walker{mem: mem, abi: abi}
	w.allow(budget)
	return w
}

// allow sets the budget.
func (w *walker) allow(reads int) { w.reads, w.visits = reads, reads*visitsPerRead }

// spent returns how many reads of an allowance of so many are gone, or as much of it as the visits that are gone.
func (w *walker) spent(allowed int) int {
	return max(allowed-w.reads, allowed-w.visits/visitsPerRead)
}

func (w *walker) table(l x86.Level, pfn x86.PFN) (*physmem.Table, error) {
	c := &w.last[l]
	if c.valid && c.pfn == pfn {
		return &c.table, nil
	}
	if w.reads--; w.reads < 0 {
		return nil, errBudget
	}
	c.pfn, c.valid = pfn, false
	if err := physmem.ReadTable(w.mem, pfn, &c.table); err != nil {
		w.missed = true
		return nil, err
	}
	c.valid = true
	return &c.table, nil
}

// entry is a present entry: the lowest address that it spans, and what it says.
type entry struct {
	va    x86.Virt
	level x86.Level
	raw   uint64
}

// leaf reports whether the processor stops here.
func (e entry) leaf() bool {
	return e.level == x86.LevelPTE || e.level <= x86.LevelPUD && e.raw&x86.PagePSE != 0
}

// end returns the address of the last byte that the entry spans.
func (e entry) end() x86.Virt { return e.va + x86.Virt(e.level.Size()-1) }

func (w *walker) phys(e entry) x86.Phys { return x86.Phys(e.raw & w.abi.FrameMask(e.level)) }

// first returns the lowest present entry in [from, last] that is a leaf or of level stop. Tables that cannot be read
// are passed over.
func (w *walker) first(root x86.PFN, from, last x86.Virt, stop x86.Level) (entry, bool, error) {
	return w.search(root, w.abi.Paging().Root(), 0, from, last, stop, 1)
}

// final is [walker.first] for the highest entry.
func (w *walker) final(root x86.PFN, from, last x86.Virt, stop x86.Level) (entry, bool, error) {
	return w.search(root, w.abi.Paging().Root(), 0, from, last, stop, -1)
}

// search looks through the part of [from, last] that the table pfn spans from base on, upwards or downwards. The range
// must not cross from one half of the address space into the other.
func (w *walker) search(pfn x86.PFN, l x86.Level, base, from, last x86.Virt, stop x86.Level, step int) (entry, bool, error) {
	if w.visits--; w.visits < 0 {
		return entry{}, false, errBudget
	}
	t, err := w.table(l, pfn)
	if err != nil {
		return entry{}, false, keepBudget(err)
	}
	p := w.abi.Paging()
	lo, hi := 0, x86.EntriesPerTable-1
	if l == p.Root() || from > base {
		lo = from.Index(l)
	}
	if l == p.Root() || last < base+x86.Virt(l.Span()-1) {
		hi = last.Index(l)
	}
	if step < 0 {
		lo, hi = hi, lo
	}
	for i := lo; i != hi+step; i += step {
		e := entry{level: l, raw: t[i]}
		if e.raw&x86.PagePresent == 0 {
			continue
		}
		e.va = base + x86.Virt(uint64(i)<<l.Shift())
		if l == p.Root() {
			e.va = p.SignExtend(e.va)
		}
		if e.leaf() || l <= stop {
			return e, true, nil
		}
		if e.raw&x86.PagePSE != 0 { // reserved at this level
			continue
		}
		found, ok, err := w.search(w.abi.TableFrame(e.raw), l-1, e.va, from, last, stop, step)
		if ok || err != nil {
			return found, ok, err
		}
	}
	return entry{}, false, nil
}

// keepBudget drops errors that concern one table only.
func keepBudget(err error) error {
	if errors.Is(err, errBudget) {
		return err
	}
	return nil
}

// lookup translates va: the physical address, and the leaf that maps it.
func (w *walker) lookup(root x86.PFN, va x86.Virt) (x86.Phys, entry, bool) {
	e, ok, err := w.first(root, va, va, x86.LevelPTE)
	if !ok || err != nil || !e.leaf() {
		return 0, entry{}, false
	}
	return w.phys(e) + x86.Phys(va-e.va), e, true
}
