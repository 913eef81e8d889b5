package pgtable

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// Why a table is not descended. A table that cannot be read brings the reader's own error instead.
var (
	// ErrLoop: the entry leads back to a table on the path from the root.
	ErrLoop = errors.New("table is its own ancestor")
	// ErrAliased: tables were visited again too often, see [Walk].
	ErrAliased = errors.New("too many visits of shared tables")
	// ErrReserved: the processor refuses the entry, because a reserved bit is set.
	ErrReserved = errors.New("reserved bit set")
	// ErrBadEntry: the entry is neither empty nor present, at a level where Linux has nothing of that kind.
	ErrBadEntry = errors.New("neither empty nor present")
)

// Access is what the table entries on the way down permit together.
type Access struct {
	W bool // RW in every entry
	U bool // USER in every entry
	X bool // NX in none
}

// FullAccess is the [Access] above the root table, where nothing has been taken away yet.
var FullAccess = Access{W: true, U: true, X: true}

// And returns the access below entry, which lies under a.
//
// Intel SDM, "Determination of Access Rights"
func (a Access) And(entry uint64) Access {
	return Access{
		W: a.W && entry&x86.PageRW != 0,
		U: a.U && entry&x86.PageUser != 0,
		X: a.X && entry&x86.PageNX == 0,
	}
}

// Table is one visit of one table. It is valid during the call that it is handed to.
type Table struct {
	VA     x86.Virt  // address that slot 0 translates
	Level  x86.Level // of its entries
	PFN    x86.PFN   // where the table is
	Access Access    // what the levels above permit
	// First and Last are the slots that the range of the walk touches, inclusive.
	First, Last int
	// Repeat says that the frame has been visited as a table before in this walk (or, on machines above
	// 256 GiB, shares its place in the walk's notes with one that has).
	Repeat bool
	// Parent is where the entry that led here is, Raw that entry; both are 0 for the root.
	Parent x86.Phys
	Raw    uint64
	// Entries is the content, nil until the table has been read.
	Entries *physmem.Table

	paging x86.Paging
}

// Whole reports that the walk's range covers the whole table.
func (t *Table) Whole() bool { return t.First == 0 && t.Last == x86.EntriesPerTable-1 }

// Addr returns the address that slot i translates.
func (t *Table) Addr(i int) x86.Virt {
	return t.paging.SignExtend(t.VA + x86.Virt(uint64(i)<<t.Level.Shift()))
}

// Entry returns the place of slot i in physical memory.
func (t *Table) Entry(i int) x86.Phys { return t.PFN.Phys() + x86.Phys(i)*8 }

// Problem is a part of the address space that a walk could not enter. Where several neighbouring entries of one table
// have the same problem, it is about the first of them, and Size is that of all.
type Problem struct {
	VA    x86.Virt  // first address concerned
	Size  uint64    // bytes of address space concerned
	Level x86.Level // of the entry that led here
	Entry x86.Phys  // where that entry is
	Raw   uint64    // that entry
	Err   error     // wraps physmem.ErrAbsent, physmem.ErrExcluded, ErrLoop, ErrAliased, ErrReserved, ErrBadEntry, ...
}

// Slot is what a slot of a table above the PTEs is.
type Slot uint8

const (
	// SlotNone is an empty slot.
	SlotNone Slot = iota
	// SlotLeaf is an entry in leaf position: a large page, or what stands in its place while P is clear.
	SlotLeaf
)

// Visitor receives a walk. An error from any method stops the walk, and Walk returns it as it is.
type Visitor interface {
	// Enter announces a table before its entries. On false it is passed over, with all below it, at no cost: a
	// visitor that has kept what an equal table (same frame, level and access) gave uses that instead, and
	// bounds by itself how often. A table that cannot be read is a Problem and is not announced.
	Enter(t *Table) (bool, error)
	// Slot hands over slot i of a table above the PTEs, unless it leads to a table or is a Problem.
	Slot(t *Table, i int, s Slot) error
	// PTEs hands over a PTE table, of which slots t.First to t.Last count.
	PTEs(t *Table) error
	// Leave follows when all below a table has been handed over.
	Leave(t *Table) error
	// Problem reports what could not be entered, in place of it. The visitor may keep p.
	Problem(p *Problem) error
}
