package pgtable

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// Why a table cannot be locked, or an operation cannot be done.
var (
	// ErrNoTable: no table is there, and none was to be made.
	ErrNoTable = errors.New("no table")
	// ErrHuge: a leaf, or what stands in its place, is where a table would be.
	ErrHuge = errors.New("huge entry in place of a table")
	// ErrRange: an address is not one of the lower half, or a range does not consist of whole pages.
	ErrRange = errors.New("bad address range")
	// ErrUsed: a slot that must be empty is not.
	ErrUsed = errors.New("entry in use")
)

// AddrError says at which address an operation failed.
type AddrError struct {
	VA  x86.Virt
	Err error
}

func (e *AddrError) Error() string { return fmt.Sprintf("pgtable: %v: %v", e.VA, e.Err) }

// Unwrap returns the reason.
func (e *AddrError) Unwrap() error { return e.Err }

// Tree is the page tables of one address space, in emulated memory: the part below the half of the addresses that
// user code has. The package comment says who may write what.
type Tree struct {
	ram  *physmem.RAM
	abi  *x86.ABI
	root x86.PFN
	id   uint32 // number of the root

	top   x86.Level // of the root's entries
	shift uint      // of them
	limit x86.Virt  // first address above the user half
	link  uint64    // flags of an entry that points to a table

	upper  sync.Mutex                     // guards tables above the PMD tables
	tables [x86.LevelPGD + 1]atomic.Int64 // tables by the level of their entries, wherever they are
	flush  pending                        // gathers under way
}

// New returns an empty tree for the kernel and machine abi, with its root in ram. The error is physmem.ErrNoMemory.
//
// Linux: arch/x86/mm/pgtable.c:pgd_alloc()
func New(ram *physmem.RAM, abi *x86.ABI) (*Tree, error) {
	p := abi.Paging()
	t := &Tree{
		ram: ram, abi: abi, top: p.Root(), shift: p.Root().Shift(),
		limit: 1 << (p.VirtBits() - 1), link: x86.PageTable | p.EncMask,
	}
	end := ram.Base() + x86.PFN(ram.Frames())
	if uint64(end.Phys())-1 > abi.PhysicalMask()&(1<<p.PhysBits-1) || ram.Frames() >= 1<<32-1 {
		return nil, fmt.Errorf("pgtable: memory up to %v with %d physical address bits: %w", end.Phys(), p.PhysBits, ErrRange)
	}
	pfn, err := ram.Alloc(physmem.UseTable)
	if err != nil {
		return nil, fmt.Errorf("pgtable: root table: %w", err)
	}
	t.root, t.id = pfn, t.number(pfn)
	s := t.state(pfn)
	s.tree, s.level, s.kind = t.id, p.Root(), kindLinked
	t.tables[p.Root()].Add(1)
	return t, nil
}

// ABI returns the kernel and machine that the tree was made for.
func (t *Tree) ABI() *x86.ABI { return t.abi }

// RAM returns the memory that holds the tables.
func (t *Tree) RAM() *physmem.RAM { return t.ram }

// Root returns the frame for CR3.
func (t *Tree) Root() x86.PFN { return t.root }

// Limit returns the first address above those that the tree translates.
func (t *Tree) Limit() x86.Virt { return t.limit }

// Tables returns the number of tables whose entries are of level l, also those that are deposited, hang nowhere or
// wait for a flush.
//
// Linux: include/linux/mm.h:mm_pgtables_bytes(), which leaves out the root
func (t *Tree) Tables(l x86.Level) int { return int(t.tables[l].Load()) }

// FlushPending reports that a gather is under way: entries may have changed without a flush of what processors cache.
//
// Linux: include/linux/mm_types.h:mm_tlb_flush_pending()
func (t *Tree) FlushPending() bool { return t.flush.count() > 0 }

// number is a frame as states hold it: never 0.
func (t *Tree) number(pfn x86.PFN) uint32 { return uint32(pfn-t.ram.Base()) + 1 }

func (t *Tree) numbered(n uint32) x86.PFN { return t.ram.Base() + x86.PFN(n-1) }

// pointer returns the entry that points to table pfn.
//
// Linux: arch/x86/include/asm/pgalloc.h:pmd_populate(), pud_populate(), p4d_populate(), pgd_populate()
func (t *Tree) pointer(pfn x86.PFN) uint64 { return uint64(pfn.Phys()) | t.link }

// newTable allocates an empty table for the addresses from va on.
func (t *Tree) newTable(l x86.Level, va x86.Virt) (x86.PFN, error) {
	pfn, err := t.ram.Alloc(physmem.UseTable)
	if err != nil {
		return 0, err
	}
	s := t.state(pfn)
	s.tree, s.level, s.va = t.id, l, va
	t.tables[l].Add(1)
	return pfn, nil
}

// freeTable gives back a table that nothing points to.
func (t *Tree) freeTable(pfn x86.PFN) {
	t.tables[t.state(pfn).level].Add(-1)
	if err := t.ram.Free(pfn); err != nil {
		panic(fmt.Sprintf("pgtable: table freed twice: %v", err))
	}
}

// AllocTable returns a PTE table that hangs nowhere yet, for [PMDCursor.Populate] or [PMDCursor.Deposit].
//
// Linux: include/linux/mm.h:pte_alloc_one()
func (t *Tree) AllocTable() (x86.PFN, error) { return t.newTable(x86.LevelPTE, 0) }

// FreeTable gives back a PTE table that hangs nowhere and that no processor can still be walking.
//
// Linux: include/linux/mm.h:pte_free()
func (t *Tree) FreeTable(pfn x86.PFN) {
	t.state(pfn).mustBe(kindLoose, pfn)
	t.freeTable(pfn)
}

func (t *Tree) checkRange(r Range) error {
	if uint64(r.First)%x86.PageSize != 0 || (uint64(r.Last)+1)%x86.PageSize != 0 || r.First > r.Last || r.Last >= t.limit {
		return &AddrError{r.First, fmt.Errorf("%w: up to %v", ErrRange, r.Last)}
	}
	return nil
}
