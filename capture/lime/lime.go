// Package lime reads memory captures of the LiME kernel module.
//
// The file is a row of ranges, each behind its header, little-endian:
//
//	0   u32 magic 0x4c694d45 ("EMiL")
//	4   u32 version 1
//	8   u64 first physical address
//	16  u64 last physical address, inclusive
//	24  8 bytes reserved
//	32  the memory, last-first+1 bytes, and right behind it the next header
//
// LiME's other formats, raw and padded, have no headers: they are read as raw. AVML writes this format too, and a
// compressed one of its own (package avml); it leaves out ranges of up to 16 MiB that are all zeros, which are then
// not in the capture, as nothing tells them from no memory.
//
// What must always hold: the headers form an unbroken chain to the end of the file, or Open fails; a file cut off
// inside a range opens, and the frames that it lost give errors.
package lime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/capture/internal/segmap"
	"ptemu/physmem"
)

// Magic is what a LiME file starts with.
const Magic = "EMiL"

const (
	format     = "LiME"
	version    = 1
	headerSize = 32
)

// File is an open LiME file. It implements [physmem.Reader], for any number of goroutines at a time.
type File struct{ mem *segmap.Map }

// Open reads the headers of the LiME file in r. Its size may be -1, not known; to find the headers, all of it is
// then read through. Errors are [*ferr.FormatError].
func Open(r io.ReaderAt, size int64) (*File, error) {
	segs := segmap.NewBuilder(size, 0)
	for off := int64(0); off != size || off == 0; {
		var h [headerSize]byte
		if n, err := r.ReadAt(h[:], off); n < headerSize {
			if n == 0 && off > 0 && size < 0 && endsBefore(off, err) {
				break
			}
			if n > 0 && errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: %d bytes are left, a range's header has %d", ferr.ErrTruncated, n, headerSize)
			}
			return nil, ferr.At(format, off, err)
		}
		if string(h[:len(Magic)]) != Magic {
			return nil, ferr.New(format, off, "a range should begin here, with %q; there is %q", Magic, h[:len(Magic)])
		}
		if v := binary.LittleEndian.Uint32(h[4:]); v != version {
			return nil, ferr.New(format, off, "version %d, only %d is known", v, version)
		}
		first, last := binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[16:])
		if last < first || last-first > math.MaxInt64-1 {
			return nil, ferr.New(format, off, "range from %#x to %#x, both inclusive", first, last)
		}
		n := last - first + 1
		if err := segs.Add(first, n, n, uint64(off)+headerSize); err != nil {
			return nil, ferr.At(format, off, err)
		}
		next := off + headerSize + int64(n)
		if size >= 0 && next > size {
			break // cut off inside this range
		}
		off = next
	}
	mem, err := segs.Build(r, format)
	if err != nil {
		return nil, ferr.At(format, 0, err)
	}
	return &File{mem: mem}, nil
}

// endsBefore reports whether err, from reading at off in a file of unknown size, means that the file ends there or
// lost bytes before, which its frames will tell. Otherwise a header was lost, and the ranges behind it.
func endsBefore(off int64, err error) bool {
	var fe *ferr.FormatError
	return errors.Is(err, io.EOF) || errors.As(err, &fe) && fe.Off < off
}

// ReadFrame implements [physmem.Reader].
func (f *File) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error { return f.mem.ReadFrame(pfn, dst) }

// Missing returns the number of bytes of memory that the file should hold but ends before. It is 0 if the size of
// the file is not known.
func (f *File) Missing() uint64 { return f.mem.Missing() }

// Ranges implements [physmem.Reader].
func (f *File) Ranges() []physmem.Range { return f.mem.Ranges() }
