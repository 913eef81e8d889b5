package pgtable

import (
	"math/bits"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/physmem"
)

// PTECursor is a locked PTE table, and the only way to write one. It is a value; one of its copies must be unlocked,
// once. Slots are 0 to 511.
type PTECursor struct {
	t   *Tree
	tab *physmem.Table
	s   *state
	pfn x86.PFN
}

// LockPTEs locks the PTE table for va. With create, missing tables are made on the way. The error is, or wraps,
// ErrNoTable, ErrHuge, ErrRange or physmem.ErrNoMemory.
//
// Linux: mm/pgtable-generic.c:__pte_offset_map_lock(), include/linux/mm.h:pte_alloc_map_lock()
func (t *Tree) LockPTEs(va x86.Virt, create bool) (PTECursor, error) {
	if va >= t.limit {
		return PTECursor{}, ErrRange
	}
	for {
		pfn, _, err := t.find(va, x86.LevelPTE)
		if err != nil {
			if !create || err != ErrNoTable {
				return PTECursor{}, err
			}
			if pfn, err = t.make(va, x86.LevelPTE); err != nil {
				return PTECursor{}, err
			}
		}
		if c, ok := t.lockPTEs(pfn, va); ok {
			return c, nil
		}
	}
}

// lockPTEs locks frame pfn, which an entry for va pointed to, and reports whether it still is the PTE table for va.
func (t *Tree) lockPTEs(pfn x86.PFN, va x86.Virt) (PTECursor, bool) {
	s := t.state(pfn)
	s.acquire()
	s.awaitBulk()
	if !s.serves(t, x86.LevelPTE, va) {
		s.release()
		return PTECursor{}, false
	}
	return PTECursor{t, t.ram.Table(pfn), s, pfn}, true
}

// serves reports that the table is linked in t, and translates va with entries of level l.
func (s *state) serves(t *Tree, l x86.Level, va x86.Virt) bool {
	return s.kind == kindLinked && s.tree == t.id && s.level == l && (va^s.va)>>(l.Shift()+9) == 0
}

// LockTable locks a PTE table that hangs nowhere (fresh from AllocTable, Withdraw, TakeTable), to fill it before
// Populate. va is an address that it will translate.
func (t *Tree) LockTable(pfn x86.PFN, va x86.Virt) PTECursor {
	s := t.state(pfn)
	s.acquire()
	s.va = va &^ x86.Virt(x86.LevelPTE.Span()-1)
	return PTECursor{t, t.ram.Table(pfn), s, pfn}
}

// Unlock ends the use of the cursor.
func (c PTECursor) Unlock() { c.s.release() }

// Tree returns the tree that the table belongs to.
func (c PTECursor) Tree() *Tree { return c.t }

// Table returns the entries, for kernels that do a whole table. Whoever makes empty slots used or used ones empty
// calls Recount before Unlock.
func (c PTECursor) Table() *physmem.Table { return c.tab }

// PFN returns the frame of the table.
func (c PTECursor) PFN() x86.PFN { return c.pfn }

// VA returns the first address that the table translates.
func (c PTECursor) VA() x86.Virt { return c.s.va }

// Addr returns the address that slot i translates.
func (c PTECursor) Addr(i int) x86.Virt { return c.s.va + x86.Virt(i)*x86.PageSize }

// Used returns the number of entries that are not none.
func (c PTECursor) Used() int { return int(c.s.used) }

// Recount counts the used entries anew.
func (c PTECursor) Recount() {
	if ptescan.CPULevel() == ptescan.Generic {
		c.s.used = countUsed(c.tab)
		return
	}
	var sorted ptescan.Sorted
	kinds := c.t.abi.Kinds()
	ptescan.Sort(&kinds, (*ptescan.Table)(c.tab), &sorted)
	n := 0
	for w, pages := range sorted.Pages {
		n += bits.OnesCount64(pages | sorted.Others[w])
	}
	c.s.used = uint16(n)
}

func countUsed(t *physmem.Table) (n uint16) {
	for _, e := range t {
		n += usedBit(e)
	}
	return n
}

// usedBit is 1 for a used entry, else 0.
func usedBit(e uint64) uint16 {
	if usedEntry(e) {
		return 1
	}
	return 0
}

// Get returns entry i.
func (c PTECursor) Get(i int) x86.PTE { return x86.PTE(c.tab[i]) }

// Set stores entry i. Linux: arch/x86/include/asm/pgtable.h:set_pte_at()
func (c PTECursor) Set(i int, e x86.PTE) {
	slot := &c.tab[i]
	c.s.used += usedBit(uint64(e)) - usedBit(*slot)
	*slot = uint64(e)
}

// SetRange stores n entries from i on, each for the frame after the last. Linux: include/linux/pgtable.h:set_ptes()
func (c PTECursor) SetRange(i, n int, e x86.PTE) {
	for ; n > 0; n-- {
		c.Set(i, e)
		i++
		e = e.AdvancePFN(1)
	}
}

// Clear stores an empty entry. Linux: include/linux/pgtable.h:pte_clear()
func (c PTECursor) Clear(i int) { c.Set(i, 0) }

// GetAndClear empties entry i and returns what it was. Linux: arch/x86/include/asm/pgtable.h:ptep_get_and_clear()
func (c PTECursor) GetAndClear(i int) x86.PTE {
	old := c.Get(i)
	c.Set(i, 0)
	return old
}

// TestAndClearYoung clears A and reports whether it was set. Nothing is owed for it.
//
// Linux: arch/x86/mm/pgtable.c:ptep_test_and_clear_young()
func (c PTECursor) TestAndClearYoung(i int) bool {
	e := c.Get(i)
	if !e.Young() {
		return false
	}
	c.tab[i] = uint64(e.MkOld())
	return true
}

// SetAccessFlags stores e if it differs from what is there and dirty is set, and reports whether it differs.
//
// Linux: arch/x86/mm/pgtable.c:ptep_set_access_flags()
func (c PTECursor) SetAccessFlags(i int, e x86.PTE, dirty bool) bool {
	if e == c.Get(i) {
		return false
	}
	if dirty {
		c.Set(i, e)
	}
	return true
}

// SetWrProtect write-protects entry i.
//
// Linux: arch/x86/include/asm/pgtable.h:ptep_set_wrprotect()
func (c PTECursor) SetWrProtect(i int) { c.tab[i] = uint64(c.Get(i).WrProtect(c.t.abi)) }
