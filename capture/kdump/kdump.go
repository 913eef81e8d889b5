package kdump

import (
	"fmt"
	"io"
	"math"
	"strings"

	"ptemu/arch/x86"
	"ptemu/capture/elfnote"
	"ptemu/capture/ferr"
	"ptemu/physmem"
)

// ErrIncomplete: the maker of the dump stopped (no space, a timeout) before it wrote the frame. It is a kind of
// [physmem.ErrExcluded]: the machine had the frame, the capture has not.
var ErrIncomplete = fmt.Errorf("the dump ended before this frame was written: %w", physmem.ErrExcluded)

const (
	maxNotes      = 32 << 20 // bytes; 8192 processors take 7 MiB
	maxVMCoreInfo = 1 << 20  // bytes; Linux has 4 KiB
)

// File is an open kdump-compressed capture. It is a [physmem.Reader].
type File struct {
	// Header is what the file says of itself.
	Header Header
	// Notes are the ELF notes that the dump was made from; none before header version 4.
	Notes []elfnote.Note
	// CPUs are the processors' states, where QEMU made the dump.
	CPUs []elfnote.CPU
	// VMCoreInfo is the kernel's own description of itself, nil if there is none.
	VMCoreInfo []byte

	r      io.ReaderAt // the rearranged file
	size   int64       // of r, -1 if unknown
	format string      // of r, for errors
	pages  pages
}

var _ physmem.Reader = (*File)(nil)

// Open opens the capture in r, flattened or not. size is that of r in bytes, -1 if it is not known (r is a stream
// that is unpacked on the way). Open reads the headers, the notes, both bitmaps, and of a flattened file every
// record's header; r may be a [*Flat], where that has been done. r must serve reads from several goroutines, as io.ReaderAt says, for as long as File is used.
//
// Errors are *[ferr.FormatError].
func Open(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, size: size, format: formatPlain}
	if size < 0 {
		f.size = -1
	}
	flat, isFlat := r.(*Flat)
	if !isFlat {
		var sig [len(flatSignature)]byte
		if err := ferr.ReadAt(r, sig[:], 0, formatPlain); err != nil {
			return nil, err
		}
		if isFlat = IsFlat(sig[:]); isFlat {
			var err error
			if flat, err = OpenFlat(r, f.size); err != nil {
				return nil, err
			}
		}
	}
	if isFlat {
		f.r, f.size, f.format = flat, flat.size, formatRearranged
	}
	at, err := f.readHeader(f.r)
	if err != nil {
		return nil, err
	}
	if err := f.readNotes(at); err != nil {
		return nil, err
	}
	if err := f.pages.init(f, at); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) readNotes(at layout) error {
	b, err := f.readArea(at.notes, maxNotes, atSub+atNoteOff, "notes")
	if err != nil {
		return err
	}
	if f.Notes, err = elfnote.Parse(b, int64(at.notes.off)); err != nil {
		return err
	}
	if f.CPUs, err = elfnote.CPUs(f.Notes); err != nil {
		return err
	}
	if f.VMCoreInfo, err = f.readArea(at.vmcoreinfo, maxVMCoreInfo, atSub+atVMCoreInfoOff, "VMCOREINFO"); err != nil {
		return err
	}
	if f.VMCoreInfo == nil {
		f.VMCoreInfo = elfnote.VMCoreInfo(f.Notes)
	}
	return nil
}

// Format describes the form of the file: "kdump-compressed, flattened, zlib".
func (f *File) Format() string {
	s := []string{"kdump-compressed"}
	if f.format == formatRearranged {
		s = append(s, "flattened")
	}
	codecs := 0
	for _, c := range codecNames {
		if f.Header.Status&c.flag != 0 {
			s = append(s, c.name)
			codecs++
		}
	}
	if codecs == 0 {
		s = append(s, "not compressed")
	}
	if f.Header.Split {
		s = append(s, "part of a split dump")
	}
	if f.Header.Incomplete {
		s = append(s, "incomplete")
	}
	return strings.Join(s, ", ")
}

// Ranges returns the memory that the machine had, as the 1st bitmap tells. Of a split dump that is the memory of
// the whole machine, not of the part.
func (f *File) Ranges() []physmem.Range { return f.pages.ranges }

// ReadFrame fills dst with frame pfn. The error of a frame that the file should hold but does not (the file is cut
// off or damaged) wraps a *[ferr.FormatError].
func (f *File) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if err := f.readFrame(pfn, dst); err != nil {
		return &physmem.FrameError{PFN: pfn, Err: err}
	}
	return nil
}

func (f *File) readFrame(pfn x86.PFN, dst *physmem.Frame) error {
	index, err := f.pages.index(f, pfn)
	if err != nil {
		return err
	}
	d, at, err := f.pages.desc(f, index)
	if err != nil {
		return err
	}
	codec := d.flags & flagCodec
	switch {
	case d.off == 0:
		return ErrIncomplete
	case d.flags&^flagCodec != 0 || codec&(codec-1) != 0:
		return ferr.New(f.format, at, "page descriptor with flags %#x", d.flags)
	case d.size == 0 || d.size > blockSize || codec == 0 && d.size != blockSize:
		return ferr.New(f.format, at, "page descriptor says %d bytes, flags %#x", d.size, d.flags)
	case d.off > math.MaxInt64-blockSize:
		return ferr.New(f.format, at, "page data at offset %#x", d.off)
	case f.size >= 0 && int64(d.off)+int64(d.size) > f.size:
		return ferr.New(f.format, at, "%w: page data at %#x, %#x bytes", ferr.ErrTruncated, d.off, d.size)
	}
	off := int64(d.off)
	if codec == 0 {
		return ferr.ReadAt(f.r, dst[:], off, f.format)
	}
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	packed := s.packed[:d.size]
	if err := ferr.ReadAt(f.r, packed, off, f.format); err != nil {
		return err
	}
	if err := s.unpack(codec, packed, dst); err != nil {
		return &ferr.FormatError{Format: f.format, Off: off, Err: fmt.Errorf("%s page of %d bytes: %w", codecName(codec), d.size, err)}
	}
	return nil
}

func codecName(flag uint32) string {
	for _, c := range codecNames {
		if c.flag == flag {
			return c.name
		}
	}
	return "unknown"
}

// excludedOrAbsent is why a frame whose bit in the 2nd bitmap is not set cannot be read.
func (p *pages) excludedOrAbsent(pfn x86.PFN) error {
	if p.hadMemory(pfn.Phys()) {
		return physmem.ErrExcluded
	}
	return physmem.ErrAbsent
}
