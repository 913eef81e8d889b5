package pgtable

import (
	"fmt"

	"ptemu/arch/x86"
)

// FreeTables frees the tables that only served r, which must be unmapped. Around r, everything from floor up to, not
// including, ceiling is unmapped too (ceiling 0: up to the end), so that tables that reach into there are freed as
// well; those that reach beyond stay. What is freed is owed to g. An entry in use ends it with ErrUsed.
//
// Linux: mm/memory.c:free_pgd_range()
func (t *Tree) FreeTables(g *Gather, r Range, floor, ceiling x86.Virt) error {
	if err := t.checkRange(r); err != nil {
		return err
	}
	const size = x86.Virt(1) << (x86.PageShift + 9) // of a PTE table
	addr, end := r.First&^(size-1), r.Last+1
	if addr < floor {
		addr += size
	}
	if ceiling != 0 {
		if ceiling &^= size - 1; ceiling == 0 {
			return nil
		}
	}
	if end-1 > ceiling-1 {
		end -= size
	}
	if addr > end-1 {
		return nil
	}
	f := freer{t, g, floor, ceiling}
	return f.below(t.top, t.root, addr, end)
}

type freer struct {
	t              *Tree
	g              *Gather
	floor, ceiling x86.Virt
}

// below frees what hangs in table pfn, whose entries are of level l, from addr to end.
//
// Linux: mm/memory.c:free_p4d_range(), free_pud_range(), free_pmd_range(), free_pte_range()
func (f *freer) below(l x86.Level, pfn x86.PFN, addr, end x86.Virt) error {
	size := x86.Virt(l.Size())
	for next := addr; addr < end; addr = next {
		next = min(end, (addr+size)&^(size-1))
		e := loadEntry(&f.t.ram.Table(pfn)[addr.Index(l)])
		if !pointsToTable(l, e) {
			continue
		}
		if l == x86.LevelPMD {
			if err := f.pteTable(addr); err != nil {
				return err
			}
			continue
		}
		child := f.t.abi.TableFrame(e)
		if err := f.below(l-1, child, addr, next); err != nil {
			return err
		}
		if f.may(addr, next, size) {
			if err := f.upperTable(pfn, child, addr.Index(l), addr&^(size-1)); err != nil {
				return err
			}
		}
	}
	return nil
}

// may reports that all of the table of which addr to end was freed, and that spans size, is free.
func (f *freer) may(addr, end, size x86.Virt) bool {
	ceiling := f.ceiling
	if ceiling != 0 {
		if ceiling &^= size - 1; ceiling == 0 {
			return false
		}
	}
	return addr&^(size-1) >= f.floor && end-1 <= ceiling-1
}

func (f *freer) pteTable(va x86.Virt) error {
	c, err := f.t.LockPMDs(va, false)
	if err != nil {
		return err
	}
	defer c.Unlock()
	p, ok := c.LockPTEs(va.Index(x86.LevelPMD))
	if !ok {
		return nil
	}
	used := p.Used()
	p.Unlock()
	if used != 0 {
		return &AddrError{c.Addr(va.Index(x86.LevelPMD)), fmt.Errorf("%w: %d of a pte table to be freed", ErrUsed, used)}
	}
	_, pfn := c.TakeTable(va.Index(x86.LevelPMD))
	f.g.Table(pfn, va)
	return nil
}

// upperTable frees the table child, which slot i of table parent points to.
func (f *freer) upperTable(parent, child x86.PFN, i int, va x86.Virt) error {
	t, s := f.t, f.t.state(child)
	t.upper.Lock()
	defer t.upper.Unlock()
	s.acquire()
	used, deposits := s.used, s.deposits
	if used == 0 && deposits == 0 {
		s.kind = kindLoose
	}
	s.release()
	if used != 0 || deposits != 0 {
		return &AddrError{va, fmt.Errorf("%w: %d of a %v table to be freed, and %d tables deposited", ErrUsed, used, s.level, deposits)}
	}
	t.state(parent).used--
	storeEntry(&t.ram.Table(parent)[i], 0)
	f.g.Table(child, va)
	return nil
}

// Close frees all tables, whatever they contain; frames that entries point to are not its concern. No gather may be
// under way, and the tree may not be used any more.
func (t *Tree) Close() error {
	if n := t.flush.count(); n != 0 {
		return fmt.Errorf("pgtable: close: %d gathers not finished", n)
	}
	t.closeTable(t.root)
	return nil
}

func (t *Tree) closeTable(pfn x86.PFN) {
	s := t.state(pfn)
	if l := s.level; l > x86.LevelPTE {
		for _, e := range t.ram.Table(pfn) {
			if pointsToTable(l, e) {
				t.closeTable(t.abi.TableFrame(e))
			}
		}
	}
	for n := s.deposits; n > 0; n-- {
		d := t.numbered(s.deposit)
		s.deposit = t.state(d).deposit
		t.freeTable(d)
	}
	t.freeTable(pfn)
}
