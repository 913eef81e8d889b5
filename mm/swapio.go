package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// write stores the content of a page in a slot.
func (a *swapArea) write(slot uint64, from *physmem.Frame) {
	s := &a.slots[slot]
	if s.data == nil {
		if *from == (physmem.Frame{}) {
			return
		}
		if n := len(a.spare); n > 0 {
			s.data, a.spare = a.spare[n-1], a.spare[:n-1]
		} else {
			s.data = new(physmem.Frame)
		}
	}
	*s.data = *from
}

// read fills a page from a slot. False: the device has failed.
func (a *swapArea) read(slot uint64, to *physmem.Frame) bool {
	s := &a.slots[slot]
	switch {
	case s.bad:
		return false
	case s.data == nil:
		*to = physmem.Frame{}
	default:
		*to = *s.data
	}
	return true
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
	pfn, err := a.m.alloc(0)
	if err != nil {
		return 0, ErrNoMem
	}
	if !a.read(slot, a.m.content(pfn)) {
		a.m.put(pfn)
		return 0, ErrIO
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
