package pgtable

import (
	"ptemu/arch/x86"
)

// Map maps the pages of r to frames from pfn on, with protection prot. Tables are made as needed. Where an entry is
// in use, it stops with ErrUsed; what came before stays mapped.
func (t *Tree) Map(r Range, pfn x86.PFN, prot x86.Prot) error {
	e := x86.MkPTE(t.abi, pfn, prot)
	return t.EachPMD(r, true, func(s PMDSlot) error {
		if err := s.Populate(); err != nil {
			return err
		}
		c, err := s.LockPTEs()
		if err != nil {
			return &AddrError{s.First, err}
		}
		defer c.Unlock()
		first, last := s.Slots()
		if c.s.used == 0 {
			c.s.used = uint16(last - first + 1)
			step := uint64(e.AdvancePFN(1) - e)
			v := uint64(e)
			slots := c.tab[first : last+1]
			for i := range slots {
				slots[i] = v
				v += step
			}
			e = x86.PTE(v)
			return nil
		}
		for i := first; i <= last; i++ {
			if usedEntry(c.tab[i]) {
				return &AddrError{c.Addr(i), ErrUsed}
			}
			c.Set(i, e)
			e = e.AdvancePFN(1)
		}
		return nil
	})
}

// MapFrames maps one page for each of the frames, from va on, as Map does.
func (t *Tree) MapFrames(va x86.Virt, frames []x86.PFN, prot x86.Prot) error {
	if len(frames) == 0 {
		return nil
	}
	r := Range{va, va + x86.Virt(len(frames))*x86.PageSize - 1}
	return t.EachPMD(r, true, func(s PMDSlot) error {
		if err := s.Populate(); err != nil {
			return err
		}
		c, err := s.LockPTEs()
		if err != nil {
			return &AddrError{s.First, err}
		}
		defer c.Unlock()
		for first, last := s.Slots(); first <= last; first++ {
			if usedEntry(c.tab[first]) {
				return &AddrError{c.Addr(first), ErrUsed}
			}
			c.Set(first, x86.MkPTE(t.abi, frames[0], prot))
			frames = frames[1:]
		}
		return nil
	})
}
