package physmem

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"ptemu/arch/x86"
)

// Errors of [RAM].
var (
	// ErrNoMemory: all frames, or as many as the limit allows, are in use.
	ErrNoMemory = errors.New("out of emulated memory")
	// ErrNotAllocated: a frame is given back that is not in use, or not the memory's own.
	ErrNotAllocated = errors.New("frame is not allocated")
)

// BlockFrames is the number of frames in a block: those of a 2 MiB page, aligned to it.
const BlockFrames = 512

// maxFrames keeps frame numbers inside the 52 address bits, and block numbers inside 32.
const maxFrames = 1 << 40

// Line is 64 bytes of state for one table, on a cache line of its own. All of it belongs to whoever allocated the frame
// for UseTable, and it is zero then. Nobody writes the lines of other frames.
type Line [8]uint64

// Use says what a frame is for. Frames of one use come from the same blocks, so that tables allocated one after the
// other lie side by side.
type Use uint8

// The uses of a frame.
const (
	UsePage  Use = iota // content
	UseTable            // 512 entries in the host's byte order
	useCount
)

// RAM is emulated physical memory: frames numbered from a base, in one piece of the host's address space. The host
// gives it memory when a frame is first touched.
//
// Frames come from blocks of 512. A block serves one use until none of its frames is in use. The frame freed last is
// allocated first, and then what else is free in its block; a block that was never used gives its frames out in
// ascending order. Only when no block is empty does a use take frames of another's.
//
// Methods may be called from any number of goroutines. The content of frames is not guarded: whoever reads a frame
// that others write must hold the lock that its writers hold, and that is true of ReadFrame too. A capture of RAM in
// use is consistent only if nothing writes meanwhile.
type RAM struct {
	base   x86.PFN
	frames []Frame
	lines  []Line
	arenas []arena
	ranges []Range

	mu     sync.Mutex
	limit  uint64
	used   uint64
	link   []uint16 // by frame: the next free one in its block
	inUse  []uint64 // bit by frame; read without mu, atomically, as tables is
	tables []uint64 // bit by frame: allocated for UseTable
	blocks []block
	// Lists of blocks that have frames left, by use, and the empty ones last.
	heads [useCount + 1]uint32
	fresh uint32 // blocks from here on were never used
}

// block is 512 frames, or what is left at the end of memory. Numbers of frames count from its first.
type block struct {
	prev, next uint32 // in the list that holds it; none ends it
	used       uint16
	size       uint16
	bump       uint16 // frames from here on are free and on no list
	dirty      uint16 // frames from here on are still zero
	free       uint16 // head of the list of free frames below bump
	list       uint8  // where it is: a Use, or listEmpty, or listFull
}

const (
	none      = ^uint32(0)
	noFrame   = ^uint16(0)
	listEmpty = uint8(useCount)
	listFull  = listEmpty + 1
	wordBits  = 64
)

// NewRAM reserves memory of the given number of frames, the first of which is base, a multiple of 512.
func NewRAM(base x86.PFN, frames uint64) (*RAM, error) {
	if base%BlockFrames != 0 || frames == 0 || frames > maxFrames || uint64(base) > maxFrames-frames {
		return nil, fmt.Errorf("physmem: RAM of %#x frames at frame %#x: want a base that is a multiple of %d, and an end below frame %#x",
			frames, uint64(base), BlockFrames, uint64(maxFrames))
	}
	r := &RAM{base: base, limit: frames}
	if err := r.reserve(frames); err != nil {
		r.Close()
		return nil, fmt.Errorf("physmem: RAM of %#x frames: %w", frames, err)
	}
	words := (frames + wordBits - 1) / wordBits
	r.inUse, r.tables = make([]uint64, words), make([]uint64, words)
	r.blocks = make([]block, (frames+BlockFrames-1)/BlockFrames)
	for l := range r.heads {
		r.heads[l] = none
	}
	r.ranges = []Range{{base.Phys(), (base + x86.PFN(frames)).Phys()}}
	return r, nil
}

// Close gives the memory back to the host. No frame, table or line of it may be used any more.
func (r *RAM) Close() error {
	var first error
	for _, a := range r.arenas {
		if err := a.release(); err != nil && first == nil {
			first = err
		}
	}
	r.arenas, r.frames, r.lines, r.link = nil, nil, nil, nil
	return first
}

// Base returns the number of the first frame.
func (r *RAM) Base() x86.PFN { return r.base }

// Frames returns the number of frames that there are.
func (r *RAM) Frames() uint64 { return uint64(len(r.frames)) }

// Ranges implements [Reader].
func (r *RAM) Ranges() []Range { return r.ranges }

// Contains reports whether frame pfn is part of the memory.
func (r *RAM) Contains(pfn x86.PFN) bool { return uint64(pfn-r.base) < uint64(len(r.frames)) }

// Frame returns frame pfn itself. It panics outside the memory.
func (r *RAM) Frame(pfn x86.PFN) *Frame { return &r.frames[pfn-r.base] }

// Line returns the state line of frame pfn, which is a table. It panics outside the memory.
func (r *RAM) Line(pfn x86.PFN) *Line { return &r.lines[pfn-r.base] }

// ReadFrame implements [Reader]. A frame that is free is excluded, as makedumpfile would exclude it.
func (r *RAM) ReadFrame(pfn x86.PFN, dst *Frame) error {
	if !r.Contains(pfn) {
		return &FrameError{PFN: pfn, Err: ErrAbsent}
	}
	u, used := r.UseOf(pfn)
	if !used {
		return &FrameError{PFN: pfn, Err: ErrExcluded}
	}
	*dst = r.frames[pfn-r.base]
	if u == UseTable {
		dst.toLittleEndian()
	}
	return nil
}

// UseOf returns what frame pfn was allocated for; false if it is free, or none of the memory.
func (r *RAM) UseOf(pfn x86.PFN) (Use, bool) {
	if !r.Contains(pfn) {
		return 0, false
	}
	i := uint64(pfn - r.base)
	if bit(r.tables, i) {
		return UseTable, true
	}
	return UsePage, bit(r.inUse, i)
}

// EachAllocated calls f for every frame in use, ascending, until it returns false. f must not allocate or free.
func (r *RAM) EachAllocated(f func(pfn x86.PFN, u Use) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w, word := range r.inUse {
		for ; word != 0; word &= word - 1 {
			i := uint64(w*wordBits + bits.TrailingZeros64(word))
			u := UsePage
			if bit(r.tables, i) {
				u = UseTable
			}
			if !f(r.base+x86.PFN(i), u) {
				return
			}
		}
	}
}

// Used returns the number of frames in use.
func (r *RAM) Used() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used
}

// SetLimit sets how many frames may be in use at a time, at most and at first Frames. Frames in use above it stay.
func (r *RAM) SetLimit(frames uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limit = min(frames, uint64(len(r.frames)))
}

// StateBytes returns the bytes that a memory of the given number of frames takes beside their content while used of
// them are in use: bitmaps and blocks for all, lines and links for those in use.
func StateBytes(frames, used uint64) uint64 {
	const bitmaps = 2
	blocks := (frames + BlockFrames - 1) / BlockFrames
	return blocks*(bitmaps*BlockFrames/8+blockSize) + used*(lineSize+linkSize)
}

func bit(b []uint64, i uint64) bool { return atomic.LoadUint64(&b[i/wordBits])>>(i%wordBits)&1 != 0 }

func setBit(b []uint64, i uint64)   { atomic.OrUint64(&b[i/wordBits], 1<<(i%wordBits)) }
func clearBit(b []uint64, i uint64) { atomic.AndUint64(&b[i/wordBits], ^uint64(1<<(i%wordBits))) }
