package pgtable

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// PMDCursor is a locked PMD table, and the only way to write one. It is a value like [PTECursor]. A PTE table below
// may be locked while it is held. Entries are read by others without the lock, so each store is atomic.
type PMDCursor struct {
	t   *Tree
	tab *physmem.Table
	s   *state
	pfn x86.PFN
}

// LockPMDs locks the PMD table for va. With create, missing tables down to it are made. The error is, or wraps,
// ErrNoTable, ErrHuge (a 1 GiB leaf), ErrRange or physmem.ErrNoMemory.
//
// Linux: include/linux/mm.h:pmd_lock(), pmd_alloc()
func (t *Tree) LockPMDs(va x86.Virt, create bool) (PMDCursor, error) {
	if va >= t.limit {
		return PMDCursor{}, ErrRange
	}
	for {
		pfn, _, err := t.find(va, x86.LevelPMD)
		if err == ErrNoTable && create {
			pfn, err = t.make(va, x86.LevelPMD)
		}
		if err != nil {
			return PMDCursor{}, err
		}
		if c, ok := t.lockPMDs(pfn, va); ok {
			return c, nil
		}
	}
}

func (t *Tree) lockPMDs(pfn x86.PFN, va x86.Virt) (PMDCursor, bool) {
	s := t.state(pfn)
	s.acquire()
	if !s.serves(t, x86.LevelPMD, va) {
		s.release()
		return PMDCursor{}, false
	}
	return PMDCursor{t, t.ram.Table(pfn), s, pfn}, true
}

// Unlock ends the use of the cursor.
func (c PMDCursor) Unlock() { c.s.release() }

// Tree returns the tree that the table belongs to.
func (c PMDCursor) Tree() *Tree { return c.t }

// PFN returns the frame of the table.
func (c PMDCursor) PFN() x86.PFN { return c.pfn }

// VA returns the first address that the table translates.
func (c PMDCursor) VA() x86.Virt { return c.s.va }

// Addr returns the first address that slot i translates.
func (c PMDCursor) Addr(i int) x86.Virt { return c.s.va + x86.Virt(i)<<x86.LevelPMD.Shift() }

// Get returns entry i.
func (c PMDCursor) Get(i int) x86.PMD { return x86.PMD(c.tab[i]) }

func (c PMDCursor) store(i int, e uint64) {
	slot := &c.tab[i]
	c.s.used += usedBit(e) - usedBit(*slot)
	storeEntry(slot, e)
}

// Set stores entry i: a leaf, or what stands in its place, or none. It panics if that would make or lose a pointer to
// a table, which Populate and TakeTable do.
//
// Linux: arch/x86/include/asm/pgtable.h:set_pmd_at()
func (c PMDCursor) Set(i int, e x86.PMD) { c.Establish(i, e) }

// GetAndClear empties entry i and returns what it was. Linux: arch/x86/include/asm/pgtable.h:pmdp_huge_get_and_clear()
func (c PMDCursor) GetAndClear(i int) x86.PMD { return c.Establish(i, 0) }

// Establish stores entry i, as Set does, and returns what it was.
//
// Linux: arch/x86/include/asm/pgtable.h:pmdp_establish()
func (c PMDCursor) Establish(i int, e x86.PMD) x86.PMD {
	old := c.tab[i]
	if pointsToTable(x86.LevelPMD, old) || pointsToTable(x86.LevelPMD, uint64(e)) {
		panic(fmt.Sprintf("pgtable: pmd entry %#x at %v set to %#x: one of them is a table", old, c.Addr(i), uint64(e)))
	}
	c.store(i, uint64(e))
	return x86.PMD(old)
}

// InvalidateAD makes the leaf i invalid (pmd_mkinvalid) and returns what it was. Nothing is owed: under the lock, no
// processor can set A or D any more.
//
// Linux: mm/pgtable-generic.c:pmdp_invalidate_ad(); pmdp_invalidate() is this and a flush
func (c PMDCursor) InvalidateAD(i int) x86.PMD {
	return c.Establish(i, c.Get(i).MkInvalid(c.t.abi))
}

// TestAndClearYoung clears A, also of an entry that points to a table, and reports whether it was set.
//
// Linux: arch/x86/mm/pgtable.c:pmdp_test_and_clear_young()
func (c PMDCursor) TestAndClearYoung(i int) bool {
	e := c.Get(i)
	if !e.Young() {
		return false
	}
	storeEntry(&c.tab[i], uint64(e.MkOld()))
	return true
}

// SetAccessFlags stores e if it differs from what is there and dirty is set, and reports whether it differs.
//
// Linux: arch/x86/mm/pgtable.c:pmdp_set_access_flags()
func (c PMDCursor) SetAccessFlags(i int, e x86.PMD, dirty bool) bool {
	if e == c.Get(i) {
		return false
	}
	if dirty {
		c.Set(i, e)
	}
	return true
}

// SetWrProtect write-protects the leaf i. Linux: arch/x86/include/asm/pgtable.h:pmdp_set_wrprotect()
func (c PMDCursor) SetWrProtect(i int) { c.Set(i, c.Get(i).WrProtect(c.t.abi)) }

// Populate links PTE table pfn, which hangs nowhere, into slot i. What is there is lost: none, or the leaf that the
// table takes the place of. It panics if it is a table.
//
// Linux: arch/x86/include/asm/pgalloc.h:pmd_populate()
func (c PMDCursor) Populate(i int, pfn x86.PFN) {
	if old := c.tab[i]; pointsToTable(x86.LevelPMD, old) {
		panic(fmt.Sprintf("pgtable: pmd entry %#x at %v populated twice", old, c.Addr(i)))
	}
	s := c.t.state(pfn)
	s.acquire()
	s.mustBe(kindLoose, pfn)
	s.kind, s.va = kindLinked, c.Addr(i)
	s.hang(c.s)
	s.release()
	c.store(i, c.t.pointer(pfn))
}

// TakeTable empties slot i, which must point to a PTE table, and returns the entry and the table. The table keeps its
// content and hangs nowhere: it goes to Deposit, to [Gather.Table], or back with Populate.
//
// Linux: mm/pgtable-generic.c:pmdp_collapse_flush(), without the flush
func (c PMDCursor) TakeTable(i int) (x86.PMD, x86.PFN) {
	old := c.tab[i]
	if !pointsToTable(x86.LevelPMD, old) {
		panic(fmt.Sprintf("pgtable: pmd entry %#x at %v is no table", old, c.Addr(i)))
	}
	pfn := c.t.abi.TableFrame(old)
	s := c.t.state(pfn)
	s.acquire()
	s.mustBe(kindLinked, pfn)
	c.store(i, 0)
	s.kind, s.parent = kindLoose, 0
	s.release()
	return x86.PMD(old), pfn
}

// Deposit keeps PTE table pfn, which hangs nowhere, for a later split.
//
// Linux: mm/pgtable-generic.c:pgtable_trans_huge_deposit()
func (c PMDCursor) Deposit(pfn x86.PFN) {
	s := c.t.state(pfn)
	s.acquire()
	s.mustBe(kindLoose, pfn)
	s.kind, s.deposit = kindDeposited, c.s.deposit
	s.release()
	c.s.deposit = c.t.number(pfn)
	c.s.deposits++
}

// Withdraw returns the table that was deposited last, with the content that it had then; it hangs nowhere.
//
// Linux: mm/pgtable-generic.c:pgtable_trans_huge_withdraw()
func (c PMDCursor) Withdraw() (x86.PFN, bool) {
	if c.s.deposits == 0 {
		return 0, false
	}
	pfn := c.t.numbered(c.s.deposit)
	s := c.t.state(pfn)
	s.acquire()
	s.mustBe(kindDeposited, pfn)
	c.s.deposit = s.deposit
	c.s.deposits--
	s.kind, s.deposit = kindLoose, 0
	s.release()
	return pfn, true
}

// mustBe panics if the table is not where the caller thinks it is.
func (s *state) mustBe(k kind, pfn x86.PFN) {
	if s.kind != k || s.level != x86.LevelPTE {
		panic(fmt.Sprintf("pgtable: frame %#x is a %v table in state %d, want a pte table in state %d", uint64(pfn), s.level, s.kind, k))
	}
}

// Deposited returns the number of tables deposited with this PMD table.
func (c PMDCursor) Deposited() int { return int(c.s.deposits) }

// LockPTEs locks the PTE table that slot i points to; false if it points to none.
func (c PMDCursor) LockPTEs(i int) (PTECursor, bool) {
	e := c.tab[i]
	if !pointsToTable(x86.LevelPMD, e) {
		return PTECursor{}, false
	}
	return c.t.lockPTEs(c.t.abi.TableFrame(e), c.Addr(i))
}
