package physmem

import (
	"fmt"
	"sync/atomic"

	"ptemu/arch/x86"
)

// Alloc returns a frame of zeros, with a line of zeros, or ErrNoMemory.
func (r *RAM) Alloc(u Use) (x86.PFN, error) {
	pfn, stale, err := r.alloc(u)
	if stale && *r.Frame(pfn) != zeros { // to read it takes no memory of the host
		*r.Frame(pfn) = Frame{}
	}
	return pfn, err
}

// AllocStale is Alloc of a frame of content, except that the content may be what the frame held before: for those who
// write all of it.
func (r *RAM) AllocStale() (x86.PFN, error) {
	pfn, _, err := r.alloc(UsePage)
	return pfn, err
}

var zeros Frame

// alloc allocates a frame, and reports that its content may not be zeros.
func (r *RAM) alloc(u Use) (pfn x86.PFN, stale bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used >= r.limit {
		return 0, false, ErrNoMemory
	}
	b, ok := r.blockFor(u)
	if !ok {
		return 0, false, ErrNoMemory
	}
	pfn, stale = r.take(b, u)
	return pfn, stale, nil
}

// AllocHuge returns the first of 512 contiguous frames of zeros, aligned to 512, for content, or ErrNoMemory.
func (r *RAM) AllocHuge() (x86.PFN, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used+BlockFrames > r.limit {
		return 0, ErrNoMemory
	}
	n, ok := r.emptyBlock(BlockFrames)
	if !ok {
		return 0, ErrNoMemory
	}
	b, first := &r.blocks[n], uint64(n)*BlockFrames
	clear(r.frames[first : first+uint64(b.dirty)])
	b.used, b.bump, b.dirty, b.free = BlockFrames, BlockFrames, BlockFrames, noFrame
	r.place(n, listFull)
	for w := first / wordBits; w < (first+BlockFrames)/wordBits; w++ {
		atomic.StoreUint64(&r.inUse[w], ^uint64(0))
	}
	r.used += BlockFrames
	return r.base + x86.PFN(first), nil
}

// Free gives one frame back. A frame of AllocHuge may be given back alone. The error is ErrNotAllocated if it is not
// in use, and nothing has happened then.
func (r *RAM) Free(pfn x86.PFN) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.freeLocked(pfn)
}

// FreeHuge gives the 512 frames from pfn on back, as [RAM.Free] does. It stops at the first that is not in use.
func (r *RAM) FreeHuge(pfn x86.PFN) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := x86.PFN(BlockFrames); i > 0; i-- {
		if err := r.freeLocked(pfn + i - 1); err != nil {
			return err
		}
	}
	return nil
}

func (r *RAM) freeLocked(pfn x86.PFN) error {
	if !r.Contains(pfn) || !bit(r.inUse, uint64(pfn-r.base)) {
		return notAllocated(pfn)
	}
	i := uint64(pfn - r.base)
	u := UsePage
	if bit(r.tables, i) {
		u = UseTable
		r.lines[i] = Line{}
		clearBit(r.tables, i)
	}
	clearBit(r.inUse, i)
	r.giveBack(i, 1, u)
	return nil
}

func notAllocated(pfn x86.PFN) error {
	return fmt.Errorf("physmem: free frame %#x: %w", uint64(pfn), ErrNotAllocated)
}

// giveBack puts n frames of one block, from i on, on its list: the last is allocated first. They had use u.
func (r *RAM) giveBack(i, n uint64, u Use) {
	r.used -= n
	k := uint32(i / BlockFrames)
	b := &r.blocks[k]
	b.used -= uint16(n)
	if b.used == 0 {
		b.free, b.bump = noFrame, 0
		r.place(k, listEmpty)
		return
	}
	for links := r.link[i : i+n]; len(links) > 0; links = links[1:] {
		links[0] = b.free
		b.free = uint16(i % BlockFrames)
		i++
	}
	if b.list == listFull {
		r.place(k, uint8(u))
	} else {
		r.place(k, b.list) // to the front: the frame freed last is allocated first
	}
}

// blockFor returns a block with a frame left for use u.
func (r *RAM) blockFor(u Use) (uint32, bool) {
	if n := r.heads[u]; n != none {
		return n, true
	}
	if n, ok := r.emptyBlock(1); ok {
		r.place(n, uint8(u))
		return n, true
	}
	for other := range useCount {
		if n := r.heads[other]; n != none {
			return n, true
		}
	}
	return 0, false
}

// emptyBlock returns a block of at least size frames, none of them in use.
func (r *RAM) emptyBlock(size uint16) (uint32, bool) {
	for n := r.heads[listEmpty]; n != none; n = r.blocks[n].next {
		if r.blocks[n].size >= size {
			return n, true
		}
	}
	n := r.fresh
	if int(n) == len(r.blocks) {
		return 0, false
	}
	left := uint64(len(r.frames)) - uint64(n)*BlockFrames
	if left < uint64(size) {
		return 0, false
	}
	r.fresh++
	r.blocks[n] = block{prev: none, next: none, size: uint16(min(left, BlockFrames)), free: noFrame, list: listFull}
	return n, true
}

// take allocates a frame of block n, which has one left. Without stale its content is zeros.
func (r *RAM) take(n uint32, u Use) (pfn x86.PFN, stale bool) {
	b := &r.blocks[n]
	in := b.free
	i := uint64(n) * BlockFrames
	if in != noFrame {
		b.free = r.link[i+uint64(in)]
	} else {
		in = b.bump
		b.bump++
	}
	i += uint64(in)
	if stale = in < b.dirty; !stale {
		b.dirty = in + 1
	}
	b.used++
	if b.used == b.size {
		r.place(n, listFull)
	}
	if u == UseTable {
		setBit(r.tables, i)
	}
	setBit(r.inUse, i)
	r.used++
	return r.base + x86.PFN(i), stale
}

// place moves block n to the front of a list, or out of all.
func (r *RAM) place(n uint32, list uint8) {
	b := &r.blocks[n]
	if b.list != listFull {
		if b.prev != none {
			r.blocks[b.prev].next = b.next
		} else {
			r.heads[b.list] = b.next
		}
		if b.next != none {
			r.blocks[b.next].prev = b.prev
		}
	}
	b.list, b.prev, b.next = list, none, none
	if list == listFull {
		return
	}
	if head := r.heads[list]; head != none {
		r.blocks[head].prev, b.next = n, head
	}
	r.heads[list] = n
}
