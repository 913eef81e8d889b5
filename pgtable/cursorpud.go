package pgtable

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// PUDCursor is a PUD table with the tree's lock for upper tables, and the only way to write 1 GiB leaves. It is a value
// like [PMDCursor]. PMD and PTE tables may be locked while it is held, but no table of the tree can be made. Entries are
// read by others without the lock, so each store is atomic.
type PUDCursor struct {
	t   *Tree
	tab *physmem.Table
	s   *state
	pfn x86.PFN
}

// LockPUDs locks the upper tables, and finds the PUD table for va. With create, missing tables down to it are made. The
// error is, or wraps, ErrNoTable, ErrRange or physmem.ErrNoMemory.
//
// Linux: include/linux/mm.h:pud_lock(), pud_alloc()
func (t *Tree) LockPUDs(va x86.Virt, create bool) (PUDCursor, error) {
	if va >= t.limit {
		return PUDCursor{}, ErrRange
	}
	for {
		t.upper.Lock()
		pfn, _, err := t.find(va, x86.LevelPUD)
		if err == nil {
			return PUDCursor{t, t.ram.Table(pfn), t.state(pfn), pfn}, nil
		}
		t.upper.Unlock()
		if !create || err != ErrNoTable {
			return PUDCursor{}, err
		}
		if _, err := t.make(va, x86.LevelPUD); err != nil {
			return PUDCursor{}, err
		}
	}
}

// Unlock ends the use of the cursor.
func (c PUDCursor) Unlock() { c.t.upper.Unlock() }

// Tree returns the tree that the table belongs to.
func (c PUDCursor) Tree() *Tree { return c.t }

// PFN returns the frame of the table.
func (c PUDCursor) PFN() x86.PFN { return c.pfn }

// VA returns the first address that the table translates.
func (c PUDCursor) VA() x86.Virt { return c.s.va }

// Addr returns the first address that slot i translates.
func (c PUDCursor) Addr(i int) x86.Virt { return c.s.va + x86.Virt(i)<<x86.LevelPUD.Shift() }

// Get returns entry i.
func (c PUDCursor) Get(i int) x86.PUD { return x86.PUD(c.tab[i]) }

// Set stores entry i: a leaf, or what stands in its place, or none. It panics if that would make or lose a pointer to
// a table.
//
// Linux: arch/x86/include/asm/pgtable.h:set_pud_at()
func (c PUDCursor) Set(i int, e x86.PUD) { c.Establish(i, e) }

// GetAndClear empties entry i and returns what it was. Linux: arch/x86/include/asm/pgtable.h:pudp_huge_get_and_clear()
func (c PUDCursor) GetAndClear(i int) x86.PUD { return c.Establish(i, 0) }

// Establish stores entry i, as Set does, and returns what it was.
//
// Linux: arch/x86/include/asm/pgtable.h:pudp_establish()
func (c PUDCursor) Establish(i int, e x86.PUD) x86.PUD {
	slot := &c.tab[i]
	old := *slot
	if pointsToTable(x86.LevelPUD, old) || pointsToTable(x86.LevelPUD, uint64(e)) {
		panic(fmt.Sprintf("pgtable: pud entry %#x at %v set to %#x: one of them is a table", old, c.Addr(i), uint64(e)))
	}
	c.s.used += usedBit(uint64(e)) - usedBit(old)
	storeEntry(slot, uint64(e))
	return x86.PUD(old)
}

// Invalidate makes the leaf i invalid (pud_mkinvalid) and returns what it was. The kernel's function also flushes at
// once, which is left to the caller.
//
// Linux: arch/x86/mm/pgtable.c:pudp_invalidate()
func (c PUDCursor) Invalidate(i int) x86.PUD {
	return c.Establish(i, c.Get(i).MkInvalid(c.t.abi))
}

// TestAndClearYoung clears A, also of an entry that points to a table, and reports whether it was set.
//
// Linux: arch/x86/mm/pgtable.c:pudp_test_and_clear_young()
func (c PUDCursor) TestAndClearYoung(i int) bool {
	e := c.Get(i)
	if !e.Young() {
		return false
	}
	storeEntry(&c.tab[i], uint64(e.MkOld()))
	return true
}

// SetAccessFlags stores e if it differs from what is there and dirty is set, and reports whether it differs.
//
// Linux: arch/x86/mm/pgtable.c:pudp_set_access_flags()
func (c PUDCursor) SetAccessFlags(i int, e x86.PUD, dirty bool) bool {
	if e == c.Get(i) {
		return false
	}
	if dirty {
		c.Set(i, e)
	}
	return true
}

// SetWrProtect write-protects the leaf i. Linux: arch/x86/include/asm/pgtable.h:pudp_set_wrprotect()
func (c PUDCursor) SetWrProtect(i int) { c.Set(i, c.Get(i).WrProtect(c.t.abi)) }

// HugePUDs changes 1 GiB leaves, which is package thp's business. A [HugePMDs] that is one too is asked about those
// that a change of protection meets. All methods lock the PUD table themselves.
type HugePUDs interface {
	// ChangePUD changes the whole of the slot at va. It returns the number of pages that the kernel counts: 512*512,
	// or 1 for "done, but do not count", or 0 if nothing huge is there any more.
	//
	// Linux: mm/huge_memory.c:change_huge_pud()
	ChangePUD(g *Gather, va x86.Virt, p *Protection) (int, error)
	// SplitPUD empties the slot at va if something huge is there, and tells processors at once.
	//
	// Linux: mm/huge_memory.c:__split_huge_pud()
	SplitPUD(g *Gather, va x86.Virt) error
	// BadPUD empties the slot at va if something huge is there, and tells nobody: kernels without
	// x86.Kernel.ProtectPUDs take it for a broken pointer to a table.
	//
	// Linux: mm/pgtable-generic.c:pud_clear_bad()
	BadPUD(t *Tree, va x86.Virt) error
}
