package pgtable

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// Repeated visits that a walk allows: a fixed number, and so many for each different table. The espfix area, through
// which every kernel maps one page 65536 times, takes 2050; the KASAN shadow takes any number, unless the visitor passes
// over what it knows.
const (
	freeRepeats     = 4096
	repeatsPerTable = 16
)

// Range is a range of virtual addresses, both ends included.
type Range struct{ First, Last x86.Virt }

// All is the whole address space.
var All = Range{0, ^x86.Virt(0)}

// Walk visits the tree of tables below the frame root, in ascending address order, as far as it lies in r.
//
// Tables may be shared. Visits of tables that were visited before, and further attempts to read a table that could not
// be read, are allowed 4096 times, and 16 times more for each different table that could be read; what exceeds that
// is an ErrAliased problem. What the visitor passes over does not count. Neighbouring slots that cannot be entered for
// the same reason (ErrLoop, ErrAliased, physmem.ErrAbsent, physmem.ErrExcluded) are one problem: that of the first, with
// the size of all.
//
// The error is the visitor's, or says that the root could not be read.
func Walk(mem physmem.Reader, abi *x86.ABI, root x86.PFN, r Range, v Visitor) error {
	return walk(mem, abi, root, r, v, freeRepeats)
}

// walk is Walk with a chosen number of free repeats.
func walk(mem physmem.Reader, abi *x86.ABI, root x86.PFN, r Range, v Visitor, free uint64) error {
	if r.First > r.Last {
		return nil
	}
	w := &walker{mem: mem, abi: abi, v: v, r: r, free: free}
	t := &w.tables[abi.Paging().Root()]
	*t = Table{Level: abi.Paging().Root(), PFN: root, Access: FullAccess}
	if err := w.load(t); err != nil {
		return fmt.Errorf("pgtable: root table: %w", err)
	}
	return w.table(t)
}

type walker struct {
	mem physmem.Reader
	abi *x86.ABI
	v   Visitor
	r   Range

	tables   [x86.LevelPGD + 1]Table // by level: the path from the root to here
	buffers  [x86.LevelPGD + 1]physmem.Table
	refused  [x86.LevelPGD + 1]Problem // by level: neighbouring slots not descended, Size 0 when there are none
	seen     frameSet                  // tables that were visited
	lost     frameSet                  // tables that could not be read
	free     uint64                    // repeats allowed besides those for each table
	distinct uint64                    // different tables that were read
	repeats  uint64                    // visits, and failed reads, beyond the first
}

// load reads t, which lies in w.tables, into its buffer. A table that was visited before is left for later: the visitor
// may pass over it.
func (w *walker) load(t *Table) error {
	t.paging = w.abi.Paging()
	t.Repeat = w.seen.has(t.PFN)
	if t.Repeat {
		return nil
	}
	err := physmem.ReadTable(w.mem, t.PFN, &w.buffers[t.Level])
	if err != nil {
		if w.lost.has(t.PFN) {
			w.repeats++
		}
		w.lost.add(t.PFN)
	}
	return err
}

// table visits t, which has been loaded, and all below it.
func (w *walker) table(t *Table) error {
	w.clip(t)
	if enter, err := w.v.Enter(t); err != nil || !enter {
		return err
	}
	if t.Repeat {
		w.repeats++
		if err := physmem.ReadTable(w.mem, t.PFN, &w.buffers[t.Level]); err != nil {
			if err := w.v.Problem(w.unreadable(t, err)); err != nil {
				return err
			}
			return w.v.Leave(t)
		}
	} else {
		w.seen.add(t.PFN)
		w.distinct++
	}
	t.Entries = &w.buffers[t.Level]
	if err := w.entries(t); err != nil {
		return err
	}
	return w.v.Leave(t)
}

// clip sets the slots of t that the range touches.
func (w *walker) clip(t *Table) {
	size := x86.Virt(t.Level.Size())
	t.First, t.Last = 0, x86.EntriesPerTable-1
	for t.First <= t.Last && t.Addr(t.First)+(size-1) < w.r.First {
		t.First++
	}
	for t.First <= t.Last && t.Addr(t.Last) > w.r.Last {
		t.Last--
	}
}

func (w *walker) entries(t *Table) error {
	if t.Level == x86.LevelPTE {
		return w.v.PTEs(t)
	}
	for i := t.First; i <= t.Last; i++ {
		if err := w.slot(t, i); err != nil {
			return err
		}
	}
	return w.flush(t.Level)
}

// slot visits slot i of t, a table above the PTEs, and what is below it.
func (w *walker) slot(t *Table, i int) error {
	e := t.Entries[i]
	s, leads, err := w.classify(t.Level, e)
	child := &w.tables[t.Level-1]
	if leads {
		*child = Table{
			VA: t.Addr(i), Level: t.Level - 1, PFN: w.abi.TableFrame(e), Access: t.Access.And(e),
			Parent: t.Entry(i), Raw: e,
		}
		reason := w.mayEnter(t.Level, child.PFN)
		if reason == nil {
			reason = w.load(child)
		}
		if reason != nil {
			return w.refuse(t, i, reason)
		}
	}
	if err := w.flush(t.Level); err != nil {
		return err
	}
	switch {
	case err != nil:
		return w.v.Problem(&Problem{
			VA: t.Addr(i), Size: t.Level.Size(), Level: t.Level, Entry: t.Entry(i), Raw: e, Err: err,
		})
	case !leads:
		return w.v.Slot(t, i, s)
	}
	return w.table(child)
}

// classify says what entry e of level l (above PTE) is; leads, that it leads to a table.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_none(), pmd_present(), pmd_leaf(), pud_leaf(), p4d_none(), pgd_none()
func (w *walker) classify(l x86.Level, e uint64) (s Slot, leads bool, err error) {
	none := e &^ x86.PageKnlErratumMask
	if l == x86.LevelPGD {
		none = e
	}
	present, large := e&x86.PagePresent != 0, e&x86.PagePSE != 0
	reserved := w.abi.ReservedBits(l, e)
	switch {
	case none == 0:
		return SlotNone, false, nil
	case l <= x86.LevelPUD && (large || !present):
		return SlotLeaf, false, nil
	case !present:
		return 0, false, ErrBadEntry
	case reserved != 0:
		return 0, false, fmt.Errorf("%w: %#x", ErrReserved, reserved)
	}
	return 0, true, nil
}

// mayEnter refuses table frame, found in a slot of level l, if the walk would not end with it.
func (w *walker) mayEnter(l x86.Level, frame x86.PFN) error {
	for ; l <= w.abi.Paging().Root(); l++ {
		if w.tables[l].PFN == frame {
			return ErrLoop
		}
	}
	if w.repeats >= w.free+repeatsPerTable*w.distinct && (w.seen.has(frame) || w.lost.has(frame)) {
		return ErrAliased
	}
	return nil
}

// refuse adds slot i of t to the neighbours that cannot be entered for the same reason.
func (w *walker) refuse(t *Table, i int, reason error) error {
	p := &w.refused[t.Level]
	if p.Size != 0 && p.VA+x86.Virt(p.Size) == t.Addr(i) && sameReason(p.Err, reason) {
		p.Size += t.Level.Size()
		return nil
	}
	if err := w.flush(t.Level); err != nil {
		return err
	}
	*p = Problem{
		VA: t.Addr(i), Size: t.Level.Size(), Level: t.Level, Entry: t.Entry(i), Raw: t.Entries[i], Err: reason,
	}
	return nil
}

// sameReason reports whether two errors differ in the frame at most.
func sameReason(a, b error) bool {
	for _, reason := range [...]error{ErrLoop, ErrAliased, physmem.ErrAbsent, physmem.ErrExcluded} {
		if errors.Is(a, reason) {
			return errors.Is(b, reason)
		}
	}
	return false
}

// flush hands over the refused neighbours of level l, if there are any.
func (w *walker) flush(l x86.Level) error {
	if w.refused[l].Size == 0 {
		return nil
	}
	p := w.refused[l]
	w.refused[l] = Problem{}
	return w.v.Problem(&p)
}

func (w *walker) unreadable(t *Table, err error) *Problem {
	return &Problem{VA: t.VA, Size: t.Level.Span(), Level: t.Level + 1, Entry: t.Parent, Raw: t.Raw, Err: err}
}
