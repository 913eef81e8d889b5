package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// swapArea is the swap device, of type 0. A slot holds the content of one page. It is in use while entries name it
// (count) or a page in memory is its copy (the swap cache), and the device remembers for each which.
//
// Linux: include/linux/swap.h:struct swap_info_struct
type swapArea struct {
	m      *Machine
	slots  []swapSlot // the first is the device's header
	low    uint64     // no slot below is free
	used   uint64
	off    bool // swapoff: no page goes out any more
	direct bool // slots of one user are read without the swap cache (SWP_SYNCHRONOUS_IO)
	store  []*[storeSlots]physmem.Frame
}

// storeSlots is for how many slots room is made at a time, when the first of them is written.
const storeSlots = 64

type swapSlot struct {
	count  int32 // entries that name the slot; of shared memory, the file
	bad    bool  // cannot be read
	filled bool  // what was written last is in the store; else it was zeros
	page   x86.PFN
}

func newSwapArea(slots uint64) *swapArea {
	return &swapArea{slots: make([]swapSlot, slots+1), low: 1, store: make([]*[storeSlots]physmem.Frame, slots/storeSlots+1)}
}

// alloc finds n free slots in a row, n a power of two, aligned to their number. They are taken by cache or dup.
//
// Linux: mm/swapfile.c:get_swap_pages()
func (a *swapArea) alloc(n uint64) (uint64, bool) {
	if a.off {
		return 0, false
	}
	for ; a.low < uint64(len(a.slots)) && !a.free(a.low); a.low++ {
	}
	for first := (a.low + n - 1) &^ (n - 1); first+n <= uint64(len(a.slots)); first += n {
		ok := true
		for i := range n {
			ok = ok && a.free(first+i)
		}
		if ok {
			return first, true
		}
	}
	return 0, false
}

// free reports that the slot is not in use. Slot 0 never is, and is no slot.
func (a *swapArea) free(slot uint64) bool {
	s := &a.slots[slot]
	return slot != 0 && s.count == 0 && s.page == 0
}

// has reports that an entry may name the slot.
func (a *swapArea) has(slot uint64) bool {
	return slot < uint64(len(a.slots)) && a.slots[slot].count > 0
}

// full reports that it is better to free slots than to keep the swap cache. Linux: include/linux/swap.h:vm_swap_full()
func (a *swapArea) full() bool { return 2*(uint64(len(a.slots)-1)-a.used) < uint64(len(a.slots)-1) }

// take counts another user of a slot. Linux: mm/swapfile.c:swap_duplicate()
func (a *swapArea) take(slot uint64) {
	if a.free(slot) {
		a.used++
	}
	a.slots[slot].count++
}

// release counts one user less. Linux: mm/swapfile.c:swap_free()
func (a *swapArea) release(slot uint64) {
	s := &a.slots[slot]
	if s.count--; s.count < 0 {
		panic(fmt.Sprintf("mm: swap slot %d is freed more often than used", slot))
	}
	a.unused(slot)
}

// unused frees the slot if nobody has it any more.
func (a *swapArea) unused(slot uint64) {
	if !a.free(slot) {
		return
	}
	a.used--
	a.low = min(a.low, slot)
}

// dup counts another entry e that names its slot. Linux: mm/swapfile.c:swap_duplicate()
func (a *swapArea) dup(e x86.PTE, l *swapentry.Layout) { a.take(l.FromPTE(e).Offset()) }

// put takes back what the entry e counted, and drops the swap cache's copy if that was the last and no one maps it.
//
// Linux: mm/swapfile.c:free_swap_and_cache()
func (a *swapArea) put(e x86.PTE, l *swapentry.Layout) {
	slot := l.FromPTE(e).Offset()
	a.release(slot)
	pfn := a.slots[slot].page
	if pfn == 0 || a.slots[slot].count > 0 {
		return
	}
	head := a.m.head(pfn)
	if a.m.pages[head].flags&pgLocked == 0 && (a.m.mapcount(head) == 0 || a.full()) {
		a.m.freeSwapCache(head)
	}
}

// users returns how many entries name the slots of the folio f.
//
// Linux: mm/swapfile.c:folio_swapped(), page_swapcount()
func (a *swapArea) users(f *page) (n int) {
	if f.flags&pgSwapCache == 0 {
		return 0
	}
	for i := range uint64(1) << f.order {
		n += int(a.slots[f.slot+i].count)
	}
	return n
}

// cache makes the folio at head the copy in memory of the slots from first on.
//
// Linux: mm/swap_state.c:add_to_swap_cache()
func (a *swapArea) cache(head x86.PFN, first uint64) {
	f := &a.m.pages[head]
	f.flags |= pgSwapCache | pgSwapBacked
	f.slot = first
	n := uint64(1) << f.order
	for i := range n {
		if a.free(first + i) {
			a.used++
		}
		a.slots[first+i].page = head + x86.PFN(i)
	}
	f.ref += int32(n)
}

// uncache takes the folio out of the swap cache, with the cache's references.
//
// Linux: mm/swap_state.c:delete_from_swap_cache()
func (a *swapArea) uncache(head x86.PFN) {
	f := &a.m.pages[head]
	n := uint64(1) << f.order
	for i := range n {
		a.slots[f.slot+i].page = 0
		a.unused(f.slot + i)
	}
	f.flags &^= pgSwapCache
	f.slot = 0
	a.m.putN(head, int32(n))
}

// moved makes the folio at to what that at from was in the swap cache. References are the caller's business.
//
// Linux: mm/migrate.c:folio_migrate_mapping()
func (a *swapArea) moved(from, to x86.PFN, order uint8) {
	first := a.m.pages[from].slot
	for i := range uint64(1) << order {
		a.slots[first+i].page = to + x86.PFN(i)
	}
	a.m.pages[to].slot = first
}

// freeSwapCache takes the folio out of the swap cache, unless entries name its slots. What it contains is then nowhere
// else.
//
// Linux: mm/swapfile.c:folio_free_swap()
func (m *Machine) freeSwapCache(head x86.PFN) {
	f := &m.pages[head]
	if f.flags&pgSwapCache == 0 || m.swap.users(f) > 0 {
		return
	}
	f.flags |= pgDirty
	m.swap.uncache(head)
}

// putUnmapped gives back the reference of a mapping that is gone. A page of the swap cache that nobody maps any more is
// taken out of it.
//
// Linux: mm/swap_state.c:free_page_and_swap_cache()
func (m *Machine) putUnmapped(pfn x86.PFN) {
	if f := m.folio(pfn); f.flags&(pgSwapCache|pgLocked) == pgSwapCache && m.mapcount(pfn) == 0 {
		m.freeSwapCache(m.head(pfn))
	}
	m.put(pfn)
}
