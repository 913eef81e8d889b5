package audit

import (
	"sync/atomic"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
)

// What is known of a frame. The bits are set as mappings are seen, in any order and by many walks at a time.
const (
	frTable      uint32 = 1 << iota // it is a page table
	frTableAgain                    // which more than one entry leads to
	frUser                          // a page of a process
	frUserAgain                     // mapped more than once
	frPrivate                       // mapped writable in a private area
	frReadable                      // mapped by a process in any way
	frWritable                      // mapped writable, other than by the direct map and the kernel image
	frPoison                        // an entry says that it has failed
)

// What is known of a swap slot.
const (
	slSeen      uint32 = 1 << iota // an entry names it
	slAgain                        // more than one does
	slExclusive                    // one of them says that it is the only one
)

// frameTable keeps state for numbers of frames, or slots, in chunks that are made when first needed. What exceeds its
// room is not kept.
type frameTable struct {
	top  [1 << frameTopBits]atomic.Pointer[frameMid]
	room *chunkRoom
}

// chunkRoom bounds the chunks of one or more tables.
type chunkRoom struct {
	used atomic.Int64
	most int64
}

// full reports that something was not kept.
func (r *chunkRoom) full() bool { return r.used.Load() > r.most }

const (
	frameChunkBits = 15 // a chunk stands for 128 MiB
	frameMidBits   = 15
	frameTopBits   = 10
	maxFrameChunks = 1 << 11 // 256 MiB of state, for 256 GiB of mapped memory
	maxSlotChunks  = 1 << 9
	chunksPerMid   = 2 // what a frameMid takes of the room
)

type (
	frameMid   [1 << frameMidBits]atomic.Pointer[frameChunk]
	frameChunk [1 << frameChunkBits]atomic.Uint32
)

// at returns the state of number n; nil if there is no room, or, unless create, none yet.
func (t *frameTable) at(n uint64, create bool) *atomic.Uint32 {
	chunk := n >> frameChunkBits
	slot := chunk >> frameMidBits
	if slot >= uint64(len(t.top)) {
		return nil
	}
	mid := t.top[slot].Load()
	if mid == nil {
		if mid = makeChunk(t.room, &t.top[slot], create, chunksPerMid); mid == nil {
			return nil
		}
	}
	p := &mid[chunk%uint64(len(mid))]
	c := p.Load()
	if c == nil {
		if c = makeChunk(t.room, p, create, 1); c == nil {
			return nil
		}
	}
	return &c[n%uint64(len(c))]
}

// makeChunk puts a new T at p, unless somebody has done so or the bound is reached.
func makeChunk[T any](room *chunkRoom, p *atomic.Pointer[T], create bool, cost int64) *T {
	if !create || room.full() || room.used.Add(cost) > room.most {
		return nil
	}
	c := new(T)
	if p.CompareAndSwap(nil, c) {
		return c
	}
	room.used.Add(-cost)
	return p.Load()
}

// get returns the state of number n.
func (t *frameTable) get(n uint64) uint32 {
	if s := t.at(n, false); s != nil {
		return s.Load()
	}
	return 0
}

// set adds bits and returns the state before and after.
func (t *frameTable) set(n uint64, bits uint32) (before, after uint32) {
	s := t.at(n, true)
	if s == nil {
		return 0, 0
	}
	before = s.Load()
	if before&bits != bits {
		before = s.Or(bits)
	}
	return before, before | bits
}

// setAgain adds bits, and again if once was set already.
func (t *frameTable) setAgain(n uint64, once, again, bits uint32) (before, after uint32) {
	before, after = t.set(n, once|bits)
	if before&once != 0 {
		_, after = t.set(n, again)
	}
	return before, after
}

// swapSlots keeps state for the slots of swap devices.
type swapSlots struct {
	types [32]atomic.Pointer[frameTable]
	room  chunkRoom
}

// of returns the slots of a swap type.
func (s *swapSlots) of(kind uint8) *frameTable {
	p := &s.types[int(kind)%len(s.types)]
	if p.Load() == nil {
		p.CompareAndSwap(nil, &frameTable{room: &s.room})
	}
	return p.Load()
}

// clashCount counts states that need a second look.
type clashCount struct{ n atomic.Int64 }

// frameClash reports that a frame's uses do not go together.
func frameClash(s uint32) bool {
	return s&frTableAgain != 0 || s&frTable != 0 && s&(frReadable|frWritable) != 0 ||
		s&frPrivate != 0 && s&frUserAgain != 0 || s&frPoison != 0 && s&frUser != 0
}

// slotClash reports that a swap slot's uses do not go together.
func slotClash(s uint32) bool { return s&slAgain != 0 && s&slExclusive != 0 }

// look counts a frame whose state has come to clash.
func (a *auditor) look(before, after uint32) {
	if before != after && frameClash(after) {
		a.clashes.n.Add(1)
	}
}

// mark adds the same bits to the frames of a page.
func (a *auditor) mark(l *tree.Leaf, once, again, bits uint32) {
	step := uint64(1)
	n := l.Level.Size() / x86.PageSize
	if l.Level > x86.LevelPMD {
		step = x86.EntriesPerTable // a page of 1 GiB is known by the first frame of each 2 MiB
	}
	for i := uint64(0); i < n; i += step {
		pfn := l.PFN + x86.PFN(i)
		if !a.ram.tracked(pfn) {
			continue
		}
		if once != 0 {
			a.look(a.fr.setAgain(uint64(pfn), once, again, bits))
		} else {
			a.look(a.fr.set(uint64(pfn), bits))
		}
	}
}
