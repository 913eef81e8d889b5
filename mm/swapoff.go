package mm

import (
	"errors"
	"maps"
	"slices"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Swapoff brings everything back from the swap area, and ends its use. What cannot be read becomes an entry that says
// so. When memory runs out it is ErrNoMem: what has come back stays, and the area stays in use.
//
// Linux: mm/swapfile.c:try_to_unuse()
func (m *Machine) Swapoff(c *CPU) error {
	m.swap.off = true
	err := m.unuseAll()
	if err != nil {
		m.swap.off = false
		return &CallError{"swapoff", 0, err}
	}
	for i := range m.swap.slots {
		if pfn := m.swap.slots[i].page; pfn != 0 {
			m.freeSwapCache(m.head(pfn))
		}
	}
	return nil
}

// Swapon starts the use of the swap area again.
func (m *Machine) Swapon() { m.swap.off = false }

func (m *Machine) unuseAll() error {
	for _, s := range m.Spaces() {
		s.readLock()
		for _, v := range s.vmas {
			if err := s.unuse(v); err != nil {
				s.readUnlock()
				return err
			}
		}
		s.readUnlock()
	}
	for _, f := range m.files {
		for _, index := range slices.Sorted(maps.Keys(f.swapped)) {
			if _, err := f.swapIn(index); err != nil && !errors.Is(err, ErrIO) {
				return err
			}
		}
	}
	return nil
}

// unuse brings back the pages of an area. Linux: mm/swapfile.c:unuse_vma()
func (s *Space) unuse(v *VMA) error {
	if v.anon == nil {
		return nil
	}
	return s.tree.EachPMD(v.whole(), false, func(slot pgtable.PMDSlot) error {
		if !slot.HasTable() {
			return nil
		}
		first, last := slot.Slots()
		for i := first; i <= last; i++ {
			c, err := slot.LockPTEs()
			if err != nil {
				return nil
			}
			e, va := c.Get(i), c.Addr(i)
			c.Unlock()
			if d := s.m.layout.Decode(x86.LevelPTE, uint64(e)); d.Kind == swapentry.KindSwap {
				if err := s.unusePTE(v, va, e, d.Offset); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// unusePTE maps the page of a slot where the entry e names it. The entry is read-only, whoever has the page.
//
// Linux: mm/swapfile.c:unuse_pte()
func (s *Space) unusePTE(v *VMA, va x86.Virt, e x86.PTE, slot uint64) error {
	m := s.m
	page, read, err := m.unusedPage(slot)
	if err != nil {
		return err
	}
	defer m.put(page)
	use, failed := page, !read || m.pages[page].flags&pgPoison != 0
	if !failed && v.needsCopy(page, va) {
		if use, err = m.copyOf(page); err != nil {
			return err
		}
		defer m.put(use)
	}
	c, err := s.tree.LockPTEs(va, false)
	if err != nil {
		return nil
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPTE)
	if c.Get(i) != e {
		return nil
	}
	if failed {
		c.Set(i, m.unreadable(page))
		m.swap.release(slot)
		return nil
	}
	n := x86.MkPTE(m.abi, use, v.prot).MkOld()
	if swapentry.SwpSoftDirty(e) {
		n = n.MkSoftDirty()
	}
	if swapentry.SwpUffdWP(e) {
		n = n.MkUffdWP(m.abi)
	}
	m.get(use)
	m.mapSwapPages(use, 1, v, va, m.folio(use).flags&pgKSM == 0 && (swapentry.PTESwpExclusive(e) || use != page))
	c.Set(i, n)
	m.swap.release(slot)
	return nil
}

// unusedPage returns the page of a slot with a reference, as the fault's swapPage does. If the slot cannot be read, it is
// a page without content, and read is false.
func (m *Machine) unusedPage(slot uint64) (page x86.PFN, read bool, err error) {
	for {
		page = m.swap.slots[slot].page
		if page == 0 {
			break
		}
		if m.folio(page).flags&pgLocked == 0 {
			m.get(page)
			return page, true, nil
		}
		if !m.waitFor(func() bool { return m.swap.slots[slot].page != page || m.folio(page).flags&pgLocked == 0 }) {
			return 0, false, ErrBusy
		}
	}
	page, err = m.swap.readSlot(slot, false)
	if errors.Is(err, ErrIO) {
		page, err = m.alloc(0)
		return page, false, err
	}
	return page, true, err
}

// unreadable is what takes the place of a swap entry whose page is lost.
func (m *Machine) unreadable(page x86.PFN) x86.PTE {
	switch {
	case m.layout.Types().SwapinError != swapentry.NoType:
		return m.layout.MakeSwapinErrorEntry(page).PTE()
	case m.pages[page].flags&pgPoison != 0:
		return m.layout.MakeHWPoisonEntry(page).PTE()
	}
	return m.layout.MakePoisonedEntry().PTE()
}
