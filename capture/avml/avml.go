// Package avml reads the compressed captures of AVML, Microsoft's user-space memory acquisition. Its uncompressed
// ones are LiME files.
//
// The file is a row of blocks, little-endian:
//
//	0   u32 magic 0x4c4d5641 ("AVML")
//	4   u32 version 2
//	8   u64 first physical address
//	16  u64 last physical address, inclusive
//	24  8 bytes of padding
//	32  the memory as chunks of the snappy framing format:
//	      u8 type, u24 length, then length bytes:
//	        type 0xff       "sNaPpY", starts the stream
//	        type 0          u32 checksum, a snappy block of at most 64 KiB of memory
//	        type 1          u32 checksum, at most 64 KiB of memory as it is
//	        type 0x80-0xfe  to be skipped
//	    u64 length of all chunks, and right behind it the next block
//
// AVML cuts memory into blocks of at most 16 MiB and leaves out those that are all zeros: such memory is not in the
// capture, as nothing tells it from no memory.
//
// Nothing says where a chunk of a given address is, so Open goes from chunk to chunk once, without unpacking any,
// and keeps the place of every sixteenth.
//
// What must always hold: memory is handed out only if its checksum is right; a file cut off inside a block opens,
// and the frames that it lost give errors.
package avml

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/physmem"
)

// Magic is what an AVML file starts with.
const Magic = "AVML"

const (
	format      = "AVML"
	version     = 2
	headerSize  = 32
	trailerSize = 8

	groupLen  = 16      // chunks in a group
	maxGroups = 1 << 22 // bounds memory; 4 TiB in full chunks
	maxBlocks = 1 << 20
	maxIdle   = 1 << 10 // bounds time
)

// group is a run of up to groupLen chunks.
type group struct {
	start uint64 // physical
	off   int64  // file offset of its first chunk
	n     uint32 // bytes of memory
}

func (g *group) end() uint64 { return g.start + uint64(g.n) }

// File is an open AVML file. It implements [physmem.Reader], for any number of goroutines at a time.
type File struct {
	r      io.ReaderAt
	groups []group // ascending, disjoint
	ranges []physmem.Range
	cut    physmem.Range // memory that the file says it has and ends before
	cutErr error
	cache  cache
}

// Open finds the chunks of the AVML file in r. Its size may be -1, not known. Errors are [*ferr.FormatError].
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r}
	for off := int64(0); off == 0 || off != size && f.cutErr == nil; {
		var h [headerSize]byte
		if n, err := r.ReadAt(h[:], off); n < headerSize {
			if n == 0 && off > 0 && errors.Is(err, io.EOF) {
				break
			}
			if n > 0 && errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: %d bytes are left, a block's header has %d", ferr.ErrTruncated, n, headerSize)
			}
			return nil, ferr.At(format, off, err)
		}
		if string(h[:len(Magic)]) != Magic {
			return nil, ferr.New(format, off, "a block should begin here, with %q; there is %q", Magic, h[:len(Magic)])
		}
		if v := binary.LittleEndian.Uint32(h[4:]); v != version {
			return nil, ferr.New(format, off, "version %d, only %d is known", v, version)
		}
		first, last := binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[16:])
		if last < first || last == math.MaxUint64 {
			return nil, ferr.New(format, off, "range from %#x to %#x, both inclusive", first, last)
		}
		if len(f.ranges) == maxBlocks {
			return nil, ferr.New(format, off, "more than %d blocks", maxBlocks)
		}
		f.ranges = append(f.ranges, physmem.Range{Start: x86.Phys(first), End: x86.Phys(last + 1)})
		next, err := f.index(off+headerSize, first, last+1)
		if err != nil {
			return nil, err
		}
		off = next
	}
	slices.SortFunc(f.groups, func(a, b group) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(f.groups); i++ {
		if g := &f.groups[i]; g.start < f.groups[i-1].end() {
			return nil, ferr.New(format, g.off, "memory at %#x is in the file twice", g.start)
		}
	}
	f.ranges = physmem.Normalize(f.ranges)
	return f, nil
}

// index goes through the chunks at off that hold memory [at, end), and returns the place of the next block. Where the
// file ends early it notes that and returns no error.
func (f *File) index(off int64, at, end uint64) (next int64, err error) {
	start := off
	inGroup := groupLen
	idle := 0 // chunks without memory, one after the other
	for at < end {
		c, err := readChunk(f.r, off)
		if errors.Is(err, ferr.ErrTruncated) {
			f.cut, f.cutErr = physmem.Range{Start: x86.Phys(at), End: x86.Phys(end)}, err
			return off, nil
		}
		if err != nil {
			return 0, err
		}
		if uint64(c.memory) > end-at {
			return 0, ferr.New(format, off, "chunk of %#x bytes, the block has room for %#x", c.memory, end-at)
		}
		if idle++; idle > maxIdle {
			return 0, ferr.New(format, off, "more than %d chunks without memory", maxIdle)
		}
		if c.memory > 0 {
			idle = 0
			if inGroup == groupLen {
				if len(f.groups) == maxGroups {
					return 0, ferr.New(format, off, "too many chunks")
				}
				f.groups = append(f.groups, group{start: at, off: off})
				inGroup = 0
			}
			f.groups[len(f.groups)-1].n += c.memory
			inGroup++
			at += uint64(c.memory)
		}
		off = c.next
	}
	var b [trailerSize]byte
	if err := ferr.ReadAt(f.r, b[:], off, format); err != nil {
		if errors.Is(err, ferr.ErrTruncated) { // nothing of the memory is lost
			f.cutErr = err
			return off, nil
		}
		return 0, err
	}
	if n := binary.LittleEndian.Uint64(b[:]); n != uint64(off-start) {
		return 0, ferr.New(format, off, "block says it has %#x bytes, it has %#x", n, off-start)
	}
	return off + trailerSize, nil
}

// Missing returns the number of bytes of memory that the file should hold but ends before.
func (f *File) Missing() uint64 { return f.cut.Len() }

// Ranges implements [physmem.Reader].
func (f *File) Ranges() []physmem.Range { return f.ranges }

// ReadFrame implements [physmem.Reader].
func (f *File) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if err := f.readFrame(pfn, dst); err != nil {
		return &physmem.FrameError{PFN: pfn, Err: err}
	}
	return nil
}

func (f *File) readFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if pfn > math.MaxUint64>>x86.PageShift {
		return physmem.ErrAbsent
	}
	at := uint64(pfn.Phys())
	i := sort.Search(len(f.groups), func(i int) bool { return f.groups[i].end() > at })
	for done := 0; done < len(dst); {
		for i < len(f.groups) && f.groups[i].end() <= at {
			i++
		}
		if i == len(f.groups) || f.groups[i].start > at {
			if f.cut.Contains(x86.Phys(at)) {
				return f.cutErr
			}
			return physmem.ErrAbsent
		}
		n, err := f.readChunkAt(&f.groups[i], at, dst[done:])
		if err != nil {
			return err
		}
		done += n
		at += uint64(n)
	}
	return nil
}

// readChunkAt copies memory from address at on, as much as the chunk that holds it has.
func (f *File) readChunkAt(g *group, at uint64, dst []byte) (int, error) {
	off, start := g.off, g.start
	for {
		c, err := readChunk(f.r, off)
		if err != nil {
			return 0, err
		}
		if end := start + uint64(c.memory); at < end {
			n := int(min(uint64(len(dst)), end-at))
			return n, f.cache.copy(dst[:n], int(at-start), f.r, c)
		}
		start += uint64(c.memory)
		off = c.next
		if start >= g.end() {
			return 0, ferr.New(format, off, "the file changed while it was read")
		}
	}
}
