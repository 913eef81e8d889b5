package mm

import (
	"fmt"
	"slices"

	"ptemu/arch/x86"
)

// swap checks the slots of the swap area against the entries that name them, files, and the swap cache.
func (c *checker) swap() {
	m := c.m
	files := map[uint64]int32{}
	for _, f := range m.files {
		for _, slot := range f.swapped {
			files[slot]++
		}
	}
	used := uint64(0)
	for i := range m.swap.slots {
		slot := uint64(i)
		if !m.swap.free(slot) && slot != 0 {
			used++
		}
		c.slot(slot, files[slot])
	}
	if used != m.swap.used {
		c.add(&CheckError{What: fmt.Sprintf("%d swap slots are in use, %d are counted", used, m.swap.used)})
	}
	c.swapCache()
}

func (c *checker) slot(slot uint64, files int32) {
	s, t := &c.m.swap.slots[slot], c.slots[slot]
	if t == nil {
		t = &slotTally{}
	}
	say := func(format string, args ...any) {
		c.add(&CheckError{Space: t.place.space, VA: t.place.va, Entry: t.raw, Slot: slot, What: fmt.Sprintf(format, args...)})
	}
	switch {
	case s.count != t.entries+files:
		say("%d entries and %d files name the slot, %d are counted", t.entries, files, s.count)
	case t.exclusive && s.count > 1:
		say("an entry is exclusive, and the slot is named %d times", s.count)
	}
	if s.page == 0 {
		return
	}
	if f := c.m.folio(s.page); f.flags&pgSwapCache == 0 || f.slot+uint64(s.page-c.m.head(s.page)) != slot {
		say("the swap cache has frame %#x, which says that it is elsewhere (slot %d)", uint64(s.page), f.slot)
	}
}

// swapCache checks that the slots of pages of the swap cache lead back to them.
func (c *checker) swapCache() {
	m := c.m
	for i := range m.pages {
		f := &m.pages[i]
		if f.flags&pgSwapCache == 0 || f.flags&pgTail != 0 {
			continue
		}
		for n := range uint64(1) << f.order {
			if slot := f.slot + n; slot >= uint64(len(m.swap.slots)) || m.swap.slots[slot].page != x86.PFN(i)+x86.PFN(n) {
				c.ofPage(x86.PFN(i)+x86.PFN(n), "the page is in the swap cache for slot %d, which does not have it", slot)
			}
		}
	}
}

// sorted returns the keys of m in ascending order, so that findings have a fixed order.
func sorted[V any](m map[uint64]V) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
