package pgtable

import (
	"unsafe"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// state is what the line of a frame holds while the frame is a table. The table's lock guards everything, except that
// the line of a table that is on no list and under no entry belongs to whoever holds its number.
type state struct {
	lock     uint32    // free, held or heldBulk
	tree     uint32    // Tree.id
	level    x86.Level // of its entries
	kind     kind
	used     uint16   // entries that are not none
	deposits uint32   // PMD table: tables deposited
	deposit  uint32   // PMD table: the last of them; a deposited one: the one before it. See Tree.number
	va       x86.Virt // first address translated
	parent   int64    // PTE table that is linked: how many lines away the state of the PMD table is
	bulks    uint32   // PMD table: how often its lock was heldBulk
	_        [2]uint64
}

// kind says where a table is.
type kind uint8

const (
	kindLoose     kind = iota // nowhere: fresh, withdrawn or taken out
	kindLinked                // an entry points to it, or it is the root
	kindDeposited             // on the list of a PMD table
	kindGathered              // it waits for a flush
)

// The state fills its line.
var _ [unsafe.Sizeof(physmem.Line{})]byte = [unsafe.Sizeof(state{})]byte{}

// state returns the state of frame pfn, which must be one of the memory.
func (t *Tree) state(pfn x86.PFN) *state {
	// SAFETY: a Line and a state have the same size, a Line is aligned to 8 bytes, and neither holds pointers.
	return (*state)(unsafe.Pointer(t.ram.Line(pfn)))
}

// above returns the state of the PMD table that a PTE table is linked in; for any other table its own.
func (s *state) above() *state {
	// SAFETY: hang worked the distance out from two lines of one memory, and neither moves.
	return (*state)(unsafe.Add(unsafe.Pointer(s), s.parent*int64(unsafe.Sizeof(*s))))
}

// hang notes that PTE table s is linked in PMD table m, whose state is in the same memory.
func (s *state) hang(m *state) {
	// SAFETY: the addresses are only subtracted.
	s.parent = (int64(uintptr(unsafe.Pointer(m))) - int64(uintptr(unsafe.Pointer(s)))) / int64(unsafe.Sizeof(*s))
}
