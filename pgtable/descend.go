package pgtable

import (
	"ptemu/arch/x86"
)

// pointsToTable reports that entry e of level l, above PTE, leads to a table.
func pointsToTable(l x86.Level, e uint64) bool {
	if l > x86.LevelPUD {
		return e&x86.PagePresent != 0
	}
	return e&(x86.PagePresent|x86.PagePSE) == x86.PagePresent
}

// notTable is the reason why e, an entry above PTE that leads to no table, does not.
func notTable(e uint64) error {
	if !usedEntry(e) {
		return ErrNoTable
	}
	return ErrHuge
}

// usedEntry reports that e, of any level below the root of five, is not none.
func usedEntry(e uint64) bool { return e&^x86.PageKnlErratumMask != 0 }

// find goes down to the table of level l that translates va, without a lock. On failure it returns the level of the
// entry that ended it, and ErrNoTable or ErrHuge.
func (t *Tree) find(va x86.Virt, to x86.Level) (x86.PFN, x86.Level, error) {
	pfn, shift := t.root, t.shift
	for l := t.top; l > to; l-- {
		e := loadEntry(&t.ram.Table(pfn)[uint64(va)>>shift%x86.EntriesPerTable])
		if !pointsToTable(l, e) {
			return 0, l, notTable(e)
		}
		pfn, shift = t.abi.TableFrame(e), shift-9
	}
	return pfn, to, nil
}

// make is find, but makes the tables that are missing.
func (t *Tree) make(va x86.Virt, to x86.Level) (x86.PFN, error) {
	for {
		pfn, l, err := t.find(va, to)
		if err != ErrNoTable {
			return pfn, err
		}
		if err := t.extend(va, l); err != nil {
			return 0, err
		}
	}
}

// extend gives the empty slot of level l for va a table, unless someone else was faster.
//
// Linux: mm/memory.c:__p4d_alloc(), __pud_alloc(), __pmd_alloc(), __pte_alloc()
func (t *Tree) extend(va x86.Virt, l x86.Level) error {
	pfn, err := t.newTable(l-1, va&^x86.Virt(l.Size()-1))
	if err != nil {
		return &AddrError{va, err}
	}
	if !t.linkAt(va, l, pfn) {
		t.freeTable(pfn)
	}
	return nil
}

// linkAt stores the pointer to table pfn in the slot of level l for va if that is empty.
func (t *Tree) linkAt(va x86.Virt, l x86.Level, pfn x86.PFN) bool {
	if l == x86.LevelPMD {
		c, err := t.LockPMDs(va, false)
		if err != nil {
			return false
		}
		defer c.Unlock()
		i := va.Index(l)
		if usedEntry(c.tab[i]) {
			return false
		}
		c.Populate(i, pfn)
		return true
	}
	t.upper.Lock()
	defer t.upper.Unlock()
	in, _, err := t.find(va, l)
	if err != nil {
		return false
	}
	slot := &t.ram.Table(in)[va.Index(l)]
	if usedEntry(*slot) {
		return false
	}
	t.state(pfn).kind = kindLinked
	t.state(in).used++
	storeEntry(slot, t.pointer(pfn))
	return true
}

// Entry is one entry on the way from the root.
type Entry struct {
	Level x86.Level
	Place x86.Phys
	Value uint64
}

// Walk returns the entries that lead to va, root first, in dst: the last is a PTE, a leaf, or the first one that leads
// nowhere. No lock is held: what it read may have changed since, and a PTE that others may write at the same time
// must be read with LockPTEs.
func (t *Tree) Walk(va x86.Virt, dst []Entry) []Entry {
	pfn := t.root
	for l := t.top; ; l-- {
		i := va.Index(l)
		e := loadEntry(&t.ram.Table(pfn)[i])
		dst = append(dst, Entry{l, pfn.Phys() + x86.Phys(i*8), e})
		if l == x86.LevelPTE || !pointsToTable(l, e) {
			return dst
		}
		pfn = t.abi.TableFrame(e)
	}
}
