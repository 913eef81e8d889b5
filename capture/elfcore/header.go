package elfcore

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"math"

	"ptemu/capture/ferr"
)

const format = "ELF core"

const (
	ehdr64, ehdr32 = 64, 52
	phdr64, phdr32 = 56, 32
	shdr64, shdr32 = 64, 40

	phNumExtended = 0xffff         // PN_XNUM
	noPhys        = math.MaxUint64 // p_paddr of what has none
)

// place is where a field of the file header is, in ELF64 and in ELF32.
type place struct{ in64, in32 int64 }

var (
	atPhOff     = place{32, 28}
	atShOff     = place{40, 32}
	atPhEntSize = place{54, 42}
)

// layout is what the file header says of the rest.
type layout struct {
	class  elf.Class
	phOff  int64
	phNum  int
	phSize int // of one program header
}

func (l layout) place(p place) int64 {
	if l.class == elf.ELFCLASS32 {
		return p.in32
	}
	return p.in64
}

// readLayout reads and judges the file header.
func readLayout(r io.ReaderAt) (layout, error) {
	var ident [elf.EI_NIDENT]byte
	if err := ferr.ReadAt(r, ident[:], 0, format); err != nil {
		return layout{}, err
	}
	if string(ident[:len(elf.ELFMAG)]) != elf.ELFMAG {
		return layout{}, ferr.New(format, 0, "no ELF magic")
	}
	if d := elf.Data(ident[elf.EI_DATA]); d != elf.ELFDATA2LSB {
		return layout{}, ferr.New(format, elf.EI_DATA, "data encoding %d: x86 is little-endian", d)
	}
	l := layout{class: elf.Class(ident[elf.EI_CLASS]), phSize: phdr64}
	if l.class == elf.ELFCLASS32 {
		l.phSize = phdr32
	}
	h, err := readFileHeader(r, l.class)
	if err != nil {
		return layout{}, err
	}
	if elf.Type(h.Type) != elf.ET_CORE {
		return layout{}, ferr.New(format, 16, "ELF type %d is not a core file", h.Type)
	}
	if m := elf.Machine(h.Machine); m != elf.EM_X86_64 && m != elf.EM_386 {
		return layout{}, ferr.New(format, 18, "ELF machine %d is not x86", m)
	}
	if int(h.Phentsize) != l.phSize && h.Phnum != 0 {
		return layout{}, ferr.New(format, l.place(atPhEntSize), "e_phentsize %d, not %d", h.Phentsize, l.phSize)
	}
	l.phNum = int(h.Phnum)
	if h.Phnum == phNumExtended {
		n, err := extendedCount(r, l, h.Shoff)
		if err != nil {
			return layout{}, err
		}
		if n > MaxSegments {
			return layout{}, ferr.New(format, int64(h.Shoff), "%d program headers, at most %d are read; of the same guest QEMU writes a few with paging off", n, MaxSegments)
		}
		l.phNum = int(n)
	}
	if h.Phoff > math.MaxInt64-uint64(l.phNum)*phdr64 {
		return layout{}, ferr.New(format, l.place(atPhOff), "e_phoff %#x is beyond any file", h.Phoff)
	}
	l.phOff = int64(h.Phoff)
	return l, nil
}

// readFileHeader widens what an ELF32 file says to the fields of ELF64 that are used.
func readFileHeader(r io.ReaderAt, class elf.Class) (h elf.Header64, err error) {
	switch class {
	case elf.ELFCLASS64:
		err = readStruct(r, 0, ehdr64, &h)
	case elf.ELFCLASS32:
		var s elf.Header32
		err = readStruct(r, 0, ehdr32, &s)
		h = elf.Header64{
			Type: s.Type, Machine: s.Machine, Phoff: uint64(s.Phoff), Shoff: uint64(s.Shoff),
			Phentsize: s.Phentsize, Phnum: s.Phnum,
		}
	default:
		err = ferr.New(format, elf.EI_CLASS, "ELF class %d", class)
	}
	return h, err
}

// extendedCount returns the number of program headers that section header 0 holds.
func extendedCount(r io.ReaderAt, l layout, off uint64) (uint32, error) {
	if off == 0 || off > math.MaxInt64-shdr64 {
		return 0, ferr.New(format, l.place(atShOff), "e_phnum says that a section header holds the count, e_shoff is %#x", off)
	}
	if l.class == elf.ELFCLASS32 {
		var s elf.Section32
		err := readStruct(r, int64(off), shdr32, &s)
		return s.Info, err
	}
	var s elf.Section64
	err := readStruct(r, int64(off), shdr64, &s)
	return s.Info, err
}

// decodeProg decodes the program header that b holds. By hand, for there may be a million.
func decodeProg(b []byte, class elf.Class) elf.Prog64 {
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
	if class == elf.ELFCLASS32 {
		return elf.Prog64{
			Type: u32(0), Off: uint64(u32(4)), Vaddr: uint64(u32(8)), Paddr: uint64(u32(12)),
			Filesz: uint64(u32(16)), Memsz: uint64(u32(20)), Flags: u32(24), Align: uint64(u32(28)),
		}
	}
	u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }
	return elf.Prog64{
		Type: u32(0), Flags: u32(4), Off: u64(8), Vaddr: u64(16), Paddr: u64(24),
		Filesz: u64(32), Memsz: u64(40), Align: u64(48),
	}
}

// readStruct fills v, which takes size bytes, from those at off.
func readStruct(r io.ReaderAt, off int64, size int, v any) error {
	b := make([]byte, size)
	if err := ferr.ReadAt(r, b, off, format); err != nil {
		return err
	}
	if _, err := binary.Decode(b, binary.LittleEndian, v); err != nil {
		panic(err) // v is not a struct of size bytes: ours to get right
	}
	return nil
}

func encode(w *bytes.Buffer, v any) {
	if err := binary.Write(w, binary.LittleEndian, v); err != nil {
		panic(err) // v is not a struct of fixed size: ours to get right
	}
}
