package pgtable

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/physmem"
)

var _ mmu.Setter = (*Tree)(nil)

// SetBits sets A or D for an emulated processor, under the lock of the table that holds the entry. It returns
// mmu.ErrStale if the entry is not old any more, or not in a table of this tree.
func (t *Tree) SetBits(place x86.Phys, old, bits uint64) error {
	pfn, i := place.PFN(), place.Offset()/8
	if !t.ram.Contains(pfn) {
		return fmt.Errorf("pgtable: entry at %v: %w", place, mmu.ErrStale)
	}
	s := t.state(pfn)
	s.acquire()
	s.awaitBulk()
	linked, level := s.kind == kindLinked && s.tree == t.id, s.level
	if linked && level <= x86.LevelPMD {
		err := t.setBits(pfn, i, old, bits)
		s.release()
		return err
	}
	s.release()
	if !linked {
		return mmu.ErrStale
	}
	t.upper.Lock()
	defer t.upper.Unlock()
	return t.setBits(pfn, i, old, bits)
}

func (t *Tree) setBits(pfn x86.PFN, i uint64, old, bits uint64) error {
	slot := &t.ram.Table(pfn)[i]
	if *slot != old {
		return mmu.ErrStale
	}
	storeEntry(slot, old|bits) // others read entries above the PTEs without a lock
	return nil
}

// Memory returns the memory that holds the tree as its processors see it: a table is read under its lock. Frames of
// content are read as [physmem.RAM.ReadFrame] does.
func (t *Tree) Memory() physmem.Reader { return memory{t} }

type memory struct{ t *Tree }

func (m memory) Ranges() []physmem.Range { return m.t.ram.Ranges() }

func (m memory) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if u, ok := m.t.ram.UseOf(pfn); !ok || u != physmem.UseTable {
		return m.t.ram.ReadFrame(pfn, dst)
	}
	s := m.t.state(pfn)
	s.acquire()
	s.awaitBulk()
	if s.level <= x86.LevelPMD {
		defer s.release()
		return m.t.ram.ReadFrame(pfn, dst)
	}
	s.release()
	m.t.upper.Lock()
	defer m.t.upper.Unlock()
	return m.t.ram.ReadFrame(pfn, dst)
}
