package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/physmem"
)

// PMDSlot is one slot of a PMD table (2 MiB) on the way of [Tree.EachPMD], or of a PUD table (1 GiB) where a leaf
// stands there.
type PMDSlot struct {
	Range           // the part of the range that lies in this slot
	Level x86.Level // LevelPMD; LevelPUD for a 1 GiB leaf
	Entry x86.PMD   // as it was when last read, without a lock; an x86.PUD for LevelPUD

	t    *Tree
	tab  *physmem.Table // that holds the slot
	pfn  x86.PFN        // its frame
	last int            // the last slot of it that EachPMD visits
}

// EachPMD calls f for the 2 MiB slots that r touches, ascending. With create, missing tables down to the PMD table
// are made; without, what has no PMD table is passed over. An error from f ends it and is returned. No lock is held
// while f runs. r must consist of whole pages: ErrRange.
//
// Linux: mm/mprotect.c:change_protection_range() down to change_pmd_range(), and its likes
func (t *Tree) EachPMD(r Range, create bool, f func(s PMDSlot) error) error {
	return t.eachPMDTable(r, create, f, func(r Range, pfn x86.PFN) error { return t.eachSlot(r, pfn, f) })
}

// eachPMDTable is EachPMD for whole PMD tables: f gets those with their part of r, huge the slots of 1 GiB leaves.
func (t *Tree) eachPMDTable(r Range, create bool, huge func(s PMDSlot) error, f func(r Range, pfn x86.PFN) error) error {
	if err := t.checkRange(r); err != nil {
		return err
	}
	for va := r.First; va <= r.Last; {
		pfn, l, err := t.find(va, x86.LevelPMD)
		last := min(r.Last, va|x86.Virt(l.Size()-1)) // of what the entry that ended find spans
		switch {
		case err == nil:
			last = min(r.Last, va|x86.Virt(x86.LevelPMD.Span()-1))
			err = f(Range{va, last}, pfn)
		case err == ErrNoTable && create:
			if _, err = t.make(va, x86.LevelPMD); err == nil {
				continue
			}
		case err == ErrNoTable:
			err = nil
		case l == x86.LevelPUD:
			s := PMDSlot{Range: Range{va, last}, Level: l, t: t}
			s.pfn, _, _ = t.find(va, x86.LevelPUD)
			s.tab = t.ram.Table(s.pfn)
			s.Reload()
			err = huge(s)
		}
		if err != nil {
			return err
		}
		va = last + 1
	}
	return nil
}

// eachSlot visits the slots of PMD table pfn that r touches.
func (t *Tree) eachSlot(r Range, pfn x86.PFN, f func(s PMDSlot) error) error {
	s := PMDSlot{Level: x86.LevelPMD, t: t, tab: t.ram.Table(pfn), pfn: pfn, last: r.Last.Index(x86.LevelPMD)}
	for i := r.First.Index(x86.LevelPMD); i <= s.last; i++ {
		s.Range = Range{r.First, min(r.Last, r.First|x86.Virt(x86.LevelPMD.Size()-1))}
		s.Entry = x86.PMD(loadEntry(&s.tab[i]))
		if err := f(s); err != nil {
			return err
		}
		r.First = s.Last + 1
	}
	return nil
}

// Index returns the slot's number in its table.
func (s *PMDSlot) Index() int { return s.First.Index(s.Level) }

// Slots returns the first and last PTE slot that the part touches.
func (s *PMDSlot) Slots() (first, last int) {
	return s.First.Index(x86.LevelPTE), s.Last.Index(x86.LevelPTE)
}

// Whole reports that the part is the whole slot.
func (s *PMDSlot) Whole() bool { return uint64(s.Last-s.First) == s.Level.Size()-1 }

// Reload reads Entry again.
func (s *PMDSlot) Reload() { s.Entry = x86.PMD(loadEntry(&s.tab[s.Index()])) }

// HasTable reports that Entry points to a PTE table.
func (s *PMDSlot) HasTable() bool {
	return s.Level == x86.LevelPMD && pointsToTable(x86.LevelPMD, uint64(s.Entry))
}

// LockPTEs locks the PTE table of the slot. It reads Entry again first. ErrNoTable or ErrHuge: there is none.
func (s *PMDSlot) LockPTEs() (PTECursor, error) {
	if s.Level != x86.LevelPMD {
		return PTECursor{}, ErrHuge
	}
	for {
		s.Reload()
		if !s.HasTable() {
			return PTECursor{}, notTable(uint64(s.Entry))
		}
		if c, ok := s.t.lockPTEs(s.t.abi.TableFrame(uint64(s.Entry)), s.First); ok {
			return c, nil
		}
	}
}

// LockPMDs locks the PMD table that holds the slot; ErrHuge for LevelPUD, ErrNoTable if it is gone.
func (s *PMDSlot) LockPMDs() (PMDCursor, error) {
	if s.Level != x86.LevelPMD {
		return PMDCursor{}, ErrHuge
	}
	if c, ok := s.t.lockPMDs(s.pfn, s.First); ok {
		return c, nil
	}
	return PMDCursor{}, ErrNoTable
}

// Populate makes a PTE table if the slot is empty, and reads Entry again.
//
// Linux: include/linux/mm.h:pte_alloc()
func (s *PMDSlot) Populate() error {
	if s.Reload(); usedEntry(uint64(s.Entry)) {
		return nil
	}
	err := s.t.extend(s.First, x86.LevelPMD)
	s.Reload()
	return err
}

// Next returns the PTE table of the following slot if EachPMD will come there, else nil. It is not locked: for
// fetching ahead only.
func (s *PMDSlot) Next() *physmem.Table {
	i := s.Index() + 1
	if i > s.last || s.Level != x86.LevelPMD {
		return nil
	}
	return s.t.fetchTable(loadEntry(&s.tab[i]))
}

// fetchTable returns the PTE table that entry e of a PMD table points to, or nil. Its state will be in the cache soon.
func (t *Tree) fetchTable(e uint64) *physmem.Table {
	if !pointsToTable(x86.LevelPMD, e) {
		return nil
	}
	pfn := t.abi.TableFrame(e)
	fetch(&t.state(pfn).lock)
	return t.ram.Table(pfn)
}
