package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// zeros is the content of an empty page.
var zeros physmem.Frame

// write stores the content of a page in a slot.
func (a *swapArea) write(slot uint64, from *physmem.Frame) {
	s := &a.slots[slot]
	if s.filled = *from != zeros; !s.filled {
		return
	}
	if room := &a.store[slot/storeSlots]; *room == nil {
		*room = new([storeSlots]physmem.Frame)
	}
	*a.content(slot) = *from
}

// content returns what was written to a slot, if it is filled.
func (a *swapArea) content(slot uint64) *physmem.Frame {
	return &a.store[slot/storeSlots][slot%storeSlots]
}

// writeFolio stores the pages of a folio in its slots, and makes it clean.
//
// Linux: mm/page_io.c:swap_writepage()
func (a *swapArea) writeFolio(head x86.PFN) {
	f := &a.m.pages[head]
	for i := range uint64(1) << f.order {
		a.write(f.slot+i, a.m.content(head+x86.PFN(i)))
	}
	f.flags &^= pgDirty
}

// readSlot brings a slot's content to memory, as a page of the swap cache or, with fresh, one that nobody else can find.
// The caller gets a reference. The error is ErrNoMem, or ErrIO for a slot that cannot be read.
//
// Linux: mm/swap_state.c:read_swap_cache_async()
func (a *swapArea) readSlot(slot uint64, fresh bool) (x86.PFN, error) {
	s := &a.slots[slot]
	pfn, err := a.m.allocFor(s.filled)
	if err != nil {
		return 0, ErrNoMem
	}
	if s.bad {
		a.m.put(pfn)
		return 0, ErrIO
	}
	if s.filled {
		*a.m.content(pfn) = *a.content(slot)
	}
	if fresh {
		a.m.pages[pfn].flags |= pgSwapBacked
	} else {
		a.cache(pfn, slot)
	}
	return pfn, nil
}

// SwapInfo is the state of one slot of the swap area.
type SwapInfo struct {
	Entries int     // that name it
	Cached  bool    // a page in memory is its copy
	PFN     x86.PFN // that page
	Bad     bool    // cannot be read
}

// SwapSlot returns the state of a slot, and whether there is one with this number: from 1 to Config.Slots.
func (m *Machine) SwapSlot(slot uint64) (SwapInfo, bool) {
	if slot == 0 || slot >= uint64(len(m.swap.slots)) {
		return SwapInfo{}, false
	}
	s := &m.swap.slots[slot]
	return SwapInfo{Entries: int(s.count), Cached: s.page != 0, PFN: s.page, Bad: s.bad}, true
}

// SwapUsed returns the number of slots in use: named by entries, or kept by the swap cache.
func (m *Machine) SwapUsed() uint64 { return m.swap.used }

// SetBadSlot makes the device fail, or work again, when the slot is read. Pages of the swap cache are not read.
func (m *Machine) SetBadSlot(slot uint64, bad bool) error {
	if _, ok := m.SwapSlot(slot); !ok {
		return fmt.Errorf("mm: swap slot %d: %w", slot, ErrInval)
	}
	m.swap.slots[slot].bad = bad
	return nil
}

// SetSwapDirect makes the swap area a device as fast as memory, whose slots are read past the swap cache if only one
// entry names them.
//
// Linux: include/linux/swap.h:SWP_SYNCHRONOUS_IO
func (m *Machine) SetSwapDirect(direct bool) { m.swap.direct = direct }
