package pgtable

import "sync/atomic"

// pending knows how many gathers are under way in a tree. A gather takes a slot for itself, which is one locked
// instruction, and so gives it back with a plain store. Those that find none are counted in crowd.
//
// Who sees under the lock of a table what a gather changed there also sees that it is under way: it took its slot
// before that lock.
//
// Linux: include/linux/mm_types.h:inc_tlb_flush_pending(), mm_tlb_flush_nested()
type pending struct {
	_     [64]byte // no line is shared with what all operations read
	slots [7]uint32
	crowd atomic.Int32
	_     [64]byte
}

// begin enters a gather and returns its slot. It had slot last before.
func (p *pending) begin(last uint8) uint8 {
	if int(last) < len(p.slots) && atomic.CompareAndSwapUint32(&p.slots[last], 0, 1) {
		return last
	}
	for i := range p.slots {
		if atomic.LoadUint32(&p.slots[i]) == 0 && atomic.CompareAndSwapUint32(&p.slots[i], 0, 1) {
			return uint8(i)
		}
	}
	p.crowd.Add(1)
	return uint8(len(p.slots))
}

// end takes out the gather that has the slot.
func (p *pending) end(slot uint8) {
	if int(slot) < len(p.slots) {
		storeRelease(&p.slots[slot], 0)
		return
	}
	p.crowd.Add(-1)
}

// count returns the number of gathers.
func (p *pending) count() uint32 {
	n := uint32(p.crowd.Load())
	for i := range p.slots {
		n += atomic.LoadUint32(&p.slots[i])
	}
	return n
}
