package elfcore

import (
	"bufio"
	"debug/elf"
	"io"

	"ptemu/arch/x86"
	"ptemu/capture/elfnote"
	"ptemu/capture/ferr"
	"ptemu/capture/internal/segmap"
	"ptemu/physmem"
)

// MaxSegments is the number of program headers that are read at most. A file with more is refused.
const MaxSegments = segmap.MaxSegments

// maxNoteBytes bounds the notes of a file: those of 8192 processors take a tenth of it.
const maxNoteBytes = 64 << 20

// File is an open ELF core. It implements [physmem.Reader], for any number of goroutines at a time.
type File struct {
	Notes      []elfnote.Note
	CPUs       []elfnote.CPU // from QEMU's notes; other makers give none
	VMCoreInfo []byte        // nil if the file has none
	// NoPhys counts the memory segments that were left out because they have no physical address.
	NoPhys int

	mem *segmap.Map
}

// Open reads the headers and notes of the ELF core in r. Its size may be -1, not known: then memory beyond the end
// is found out by reading it. Errors are [*ferr.FormatError].
func Open(r io.ReaderAt, size int64) (*File, error) {
	l, err := readLayout(r)
	if err != nil {
		return nil, err
	}
	tableSize := int64(l.phNum) * int64(l.phSize)
	if size >= 0 && (l.phOff > size || tableSize > size-l.phOff) {
		return nil, ferr.New(format, l.phOff, "%d program headers: %w", l.phNum, ferr.ErrTruncated)
	}

	f := &File{}
	room := 0
	if n, _ := r.ReadAt(make([]byte, 1), l.phOff+max(tableSize, 1)-1); n == 1 {
		room = l.phNum // it is not merely stated: what is made of the table is smaller
	}
	o := opener{r: r, size: size, f: f, noteRoom: maxNoteBytes, segs: segmap.NewBuilder(size, room)}
	table := bufio.NewReaderSize(io.NewSectionReader(r, l.phOff, tableSize), int(min(tableSize, 1<<16)))
	b := make([]byte, l.phSize)
	for i := range l.phNum {
		off := l.phOff + int64(i)*int64(l.phSize)
		if _, err := io.ReadFull(table, b); err != nil {
			return nil, ferr.At(format, off, err)
		}
		if err := o.segment(decodeProg(b, l.class), off); err != nil {
			return nil, err
		}
	}
	if err := o.memory(); err != nil {
		return nil, err
	}
	if f.CPUs, err = elfnote.CPUs(f.Notes); err != nil {
		return nil, err
	}
	f.VMCoreInfo = elfnote.VMCoreInfo(f.Notes)
	return f, nil
}

// opener is what Open remembers between segments.
type opener struct {
	r        io.ReaderAt
	size     int64
	f        *File
	segs     *segmap.Builder
	noteRoom int64
	loads    int // memory segments with a physical address and a size
	atZero   int // those of them at physical address 0
}

func (o *opener) segment(p elf.Prog64, off int64) error {
	switch elf.ProgType(p.Type) {
	case elf.PT_NOTE:
		return o.notes(p, off)
	case elf.PT_LOAD:
		if p.Paddr == noPhys {
			o.f.NoPhys++
			return nil
		}
		if p.Memsz > 0 {
			o.loads++
			if p.Paddr == 0 {
				o.atZero++
			}
		}
		if err := o.segs.Add(p.Paddr, p.Memsz, p.Filesz, p.Off); err != nil {
			return ferr.At(format, off, err)
		}
	}
	return nil
}

func (o *opener) notes(p elf.Prog64, off int64) error {
	if p.Filesz == 0 {
		return nil
	}
	if p.Filesz > uint64(o.noteRoom) {
		return ferr.New(format, off, "%#x bytes of notes, at most %#x are read", p.Filesz, maxNoteBytes)
	}
	o.noteRoom -= int64(p.Filesz)
	if p.Off > 1<<63-1-maxNoteBytes {
		return ferr.New(format, off, "notes at file offset %#x, beyond any file", p.Off)
	}
	from, n := int64(p.Off), int64(p.Filesz)
	if o.size >= 0 && (from > o.size || n > o.size-from) {
		return ferr.New(format, off, "notes at %#x, %#x bytes: %w", from, n, ferr.ErrTruncated)
	}
	// ReadAll takes memory as bytes arrive, where the size of the file cannot vouch for n.
	b, err := io.ReadAll(io.NewSectionReader(o.r, from, n))
	if err == nil && int64(len(b)) < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return ferr.At(format, from+int64(len(b)), err)
	}
	// A p_align of 8 is the rule for notes padded to eight bytes, but there are files that state it and pad to four.
	notes, err := elfnote.ParseAligned(b, from, p.Align)
	if err != nil && p.Align == 8 {
		notes, err = elfnote.Parse(b, from)
	}
	if err != nil {
		return err
	}
	if len(o.f.Notes)+len(notes) > elfnote.MaxNotes {
		return ferr.New(format, off, "more than %d notes", elfnote.MaxNotes)
	}
	o.f.Notes = append(o.f.Notes, notes...)
	return nil
}

func (o *opener) memory() (err error) {
	switch {
	case o.loads == 0 && o.f.NoPhys > 0:
		return ferr.New(format, 0, "none of the %d memory segments has a physical address", o.f.NoPhys)
	case o.loads == 0:
		return ferr.New(format, 0, "no memory segments")
	case o.loads > 1 && o.atZero == o.loads:
		return ferr.New(format, 0, "all %d memory segments are at physical address 0: the core of a process, not of a machine?", o.loads)
	}
	o.f.mem, err = o.segs.Build(o.r, format)
	if err != nil {
		return ferr.At(format, 0, err)
	}
	return nil
}

// ReadFrame implements [physmem.Reader]. A frame that the file should hold but ends before gives a
// [*ferr.FormatError] with [ferr.ErrTruncated].
func (f *File) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error { return f.mem.ReadFrame(pfn, dst) }

// Missing returns the number of bytes of memory that the file should hold but ends before. It is 0 if the size of
// the file is not known.
func (f *File) Missing() uint64 { return f.mem.Missing() }

// Ranges implements [physmem.Reader].
func (f *File) Ranges() []physmem.Range { return f.mem.Ranges() }

// Format says what kind of ELF core it is.
func (f *File) Format() string {
	switch {
	case len(f.CPUs) > 0:
		return format + " (QEMU)"
	case f.NoPhys > 0:
		return format + " (kcore)"
	}
	return format
}

// Segment is a run of memory in one place of the file.
type Segment struct {
	physmem.Range
	Off      int64 // file offset; 0 if Excluded
	CutOff   bool  // the file ends before these bytes
	Excluded bool  // the capture was made without these bytes
}

// Segments yields the memory with its place in the file: ascending, disjoint, overlaps resolved, neighbours joined.
func (f *File) Segments(yield func(Segment) bool) {
	for _, e := range f.mem.Extents() {
		s := Segment{
			Range:    physmem.Range{Start: x86.Phys(e.Start), End: x86.Phys(e.End)},
			Off:      e.Off,
			CutOff:   e.State == segmap.CutOff,
			Excluded: e.State == segmap.Excluded,
		}
		if !yield(s) {
			return
		}
	}
}
