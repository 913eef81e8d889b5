package kdump

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"sort"
	"sync/atomic"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/physmem"
)

const (
	descSize = 24
	// descsPerRead is how many descriptors are read at a time, nearly a block.
	descsPerRead = blockSize / descSize
	// maxRanges bounds the ranges of the 1st bitmap. Machines have some tens.
	maxRanges = 1 << 16
	// scanBlocks is how many blocks of a bitmap Open reads at a time.
	scanBlocks = 16
)

// pages finds the descriptor of a frame.
type pages struct {
	max        x86.PFN // frames are below it
	start, end x86.PFN // the part that has descriptors
	bitmap     int64   // the 2nd bitmap
	descs      int64
	// before[i] is the number of frames with a descriptor before the frame of the first bit of block i.
	before []uint64
	ranges []physmem.Range

	bitmapCache, descCache cache
}

// desc is a page descriptor. Its page flags mean nothing here.
type desc struct {
	off         uint64
	size, flags uint32
}

// init reads both bitmaps, in step: a frame that was dumped was memory, whatever the 1st bitmap says.
func (p *pages) init(f *File, at layout) error {
	hdr := &f.Header
	p.max, p.start, p.end = hdr.MaxPFN, 0, hdr.MaxPFN
	if hdr.Split {
		p.start, p.end = min(hdr.StartPFN, p.max), min(hdr.EndPFN, p.max)
	}
	p.bitmap, p.descs = at.bitmap2, at.descs

	var zeros [blockSize]byte
	buf := make([]byte, 2*scanBlocks*blockSize)
	total := int64(hdr.MaxPFN+7) / 8
	p.before = make([]uint64, 0, (hdr.MaxPFN+framesPerBlock-1)/framesPerBlock)
	dumped := uint64(0)
	ranges := rangeBuilder{}
	for pos := int64(0); pos < total; pos += scanBlocks * blockSize {
		n := min(total-pos, scanBlocks*blockSize)
		ram, dump := buf[:n], buf[len(buf)/2:][:n]
		if err := ferr.ReadAt(f.r, ram, at.bitmap1+pos, f.format); err != nil {
			return err
		}
		if err := ferr.ReadAt(f.r, dump, at.bitmap2+pos, f.format); err != nil {
			return err
		}
		for i := 0; i < len(ram); i += 8 {
			pfn := x86.PFN(pos+int64(i)) * 8
			if pfn%framesPerBlock == 0 {
				p.before = append(p.before, dumped)
				// Most of a large machine's addresses have no memory.
				if rest := min(blockSize, len(ram)-i); !ranges.open &&
					bytes.Equal(ram[i:i+rest], zeros[:rest]) && bytes.Equal(dump[i:i+rest], zeros[:rest]) {
					i += blockSize - 8
					continue
				}
			}
			d := word(dump[i:]) & below(p.max, pfn)
			if err := ranges.add(pfn, word(ram[i:])&below(p.max, pfn)|d); err != nil {
				return ferr.At(f.format, at.bitmap1+pos+int64(i), err)
			}
			dumped += uint64(bits.OnesCount64(d & p.part(pfn)))
		}
	}
	p.ranges = ranges.finish(p.max)
	return nil
}

// word is the next 64 bits of a bitmap, of which fewer may be left.
func word(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b)
	}
	var last [8]byte
	copy(last[:], b)
	return binary.LittleEndian.Uint64(last[:])
}

// below has the bits set, of the 64 frames from pfn, that are below limit.
func below(limit, pfn x86.PFN) uint64 {
	switch {
	case limit >= pfn+64:
		return ^uint64(0)
	case limit <= pfn:
		return 0
	}
	return 1<<(limit-pfn) - 1
}

// part has the bits set, of the 64 frames from pfn, that are in the part of a split dump.
func (p *pages) part(pfn x86.PFN) uint64 { return below(p.end, pfn) &^ below(p.start, pfn) }

// index returns the number of the frame's descriptor, or why it has none.
func (p *pages) index(f *File, pfn x86.PFN) (uint64, error) {
	if pfn >= p.max {
		return 0, physmem.ErrAbsent
	}
	no := int64(pfn / framesPerBlock)
	b := p.bitmapCache.get(f, no, p.bitmap+no*blockSize, blockSize)
	bit := pfn % framesPerBlock
	if int(bit/8) >= b.n {
		return 0, ferr.At(f.format, p.bitmap+no*blockSize+int64(b.n), b.err)
	}
	if b.data[bit/8]>>(bit%8)&1 == 0 || pfn < p.start || pfn >= p.end {
		return 0, p.excludedOrAbsent(pfn)
	}
	first := pfn - bit
	index := p.before[no]
	for at := first; at < pfn; at += 64 {
		w := binary.LittleEndian.Uint64(b.data[(at-first)/8:])
		index += uint64(bits.OnesCount64(w & p.part(at) & below(pfn, at)))
	}
	return index, nil
}

// desc returns a descriptor and its place in the file.
func (p *pages) desc(f *File, index uint64) (desc, int64, error) {
	no, i := int64(index/descsPerRead), int(index%descsPerRead)
	first := p.descs + no*descsPerRead*descSize
	at := first + int64(i)*descSize
	b := p.descCache.get(f, no, first, descsPerRead*descSize)
	if (i+1)*descSize > b.n {
		return desc{}, 0, ferr.At(f.format, at, b.err)
	}
	d := b.data[i*descSize:]
	return desc{
		off:   binary.LittleEndian.Uint64(d),
		size:  binary.LittleEndian.Uint32(d[8:]),
		flags: binary.LittleEndian.Uint32(d[12:]),
	}, at, nil
}

// hadMemory reports whether a range holds at.
func (p *pages) hadMemory(at x86.Phys) bool {
	i := sort.Search(len(p.ranges), func(i int) bool { return p.ranges[i].End > at })
	return i < len(p.ranges) && p.ranges[i].Start <= at
}

// rangeBuilder makes ranges of a bitmap.
type rangeBuilder struct {
	ranges []physmem.Range
	open   bool // the last range has no end yet
}

// add takes the bits of the 64 frames from pfn.
func (b *rangeBuilder) add(pfn x86.PFN, w uint64) error {
	for n := 0; n < 64; {
		rest := w >> n
		if b.open {
			rest = ^rest
		}
		run := min(bits.TrailingZeros64(rest), 64-n) // how long nothing changes
		if n += run; n == 64 {
			break
		}
		at := (pfn + x86.PFN(n)).Phys()
		if b.open {
			b.ranges[len(b.ranges)-1].End = at
		} else {
			if len(b.ranges) == maxRanges {
				return fmt.Errorf("more than %d separate ranges of memory", maxRanges)
			}
			b.ranges = append(b.ranges, physmem.Range{Start: at})
		}
		b.open = !b.open
	}
	return nil
}

// finish ends a range that reaches the last frame.
func (b *rangeBuilder) finish(max x86.PFN) []physmem.Range {
	if b.open {
		b.ranges[len(b.ranges)-1].End = max.Phys()
	}
	return b.ranges
}

// cache keeps some of the blocks that were read. Blocks never change once they are in it, so that readers take no
// lock; two that miss at the same time both read.
type cache struct {
	slots [64]atomic.Pointer[block]
}

type block struct {
	no   int64
	n    int   // bytes of data that could be read
	err  error // why there are no more
	data [blockSize]byte
}

// get returns block no, which is size bytes at off, or as many of them as can be read.
func (c *cache) get(f *File, no, off int64, size int) *block {
	slot := &c.slots[no%int64(len(c.slots))]
	if b := slot.Load(); b != nil && b.no == no {
		return b
	}
	b := &block{no: no}
	b.n, b.err = f.r.ReadAt(b.data[:size], off)
	if b.n < size && b.err == nil {
		b.err = io.ErrUnexpectedEOF
	}
	if b.n == size || b.err == io.EOF {
		slot.Store(b)
	}
	return b
}
