package elfcore

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"

	"ptemu/arch/x86"
	"ptemu/capture/elfnote"
	"ptemu/physmem"
)

// Write writes the frames of mem that lie wholly in ranges as an ELF64 core, with the given notes. [Open] reads
// back the same frames: an excluded frame becomes memory without bytes in the file, an absent one is left out. Any
// other frame that cannot be read ends the writing with its error.
//
// Every frame is read twice, first to learn whether it is there. The ranges may overlap and be in any order.
func Write(w io.Writer, mem physmem.Reader, ranges []physmem.Range, notes []elfnote.Note) error {
	loads, err := plan(mem, ranges)
	if err != nil {
		return err
	}
	bw := bufio.NewWriterSize(w, 1<<20)
	if err := writeHeaders(bw, loads, notes); err != nil {
		return err
	}
	var f physmem.Frame
	for _, l := range loads {
		for pfn := l.first; pfn < l.inFile; pfn++ {
			if err := mem.ReadFrame(pfn, &f); err != nil {
				return fmt.Errorf("memory changed while it was written: %w", err)
			}
			if _, err := bw.Write(f[:]); err != nil {
				return err
			}
		}
	}
	return bw.Flush()
}

// load is a segment to be: frames [first, inFile) with bytes, [inFile, end) excluded.
type load struct{ first, inFile, end x86.PFN }

// plan finds out which frames are there.
func plan(mem physmem.Reader, ranges []physmem.Range) ([]load, error) {
	var loads []load
	var f physmem.Frame
	for _, r := range physmem.Intersect(physmem.Normalize(ranges), mem.Ranges()) {
		first, end := r.Frames()
		for pfn := first; pfn < end; pfn++ {
			err := mem.ReadFrame(pfn, &f)
			excluded := errors.Is(err, physmem.ErrExcluded)
			switch {
			case errors.Is(err, physmem.ErrAbsent):
				continue
			case err != nil && !excluded:
				return nil, err
			}
			if n := len(loads); n > 0 && loads[n-1].end == pfn && (excluded || loads[n-1].inFile == pfn) {
				loads[n-1].end++
				if !excluded {
					loads[n-1].inFile++
				}
				continue
			}
			if len(loads) == MaxSegments-1 {
				return nil, fmt.Errorf("memory falls into more than %d pieces", MaxSegments-1)
			}
			l := load{first: pfn, inFile: pfn, end: pfn + 1}
			if !excluded {
				l.inFile = l.end
			}
			loads = append(loads, l)
		}
	}
	return loads, nil
}

func writeHeaders(w io.Writer, loads []load, notes []elfnote.Note) error {
	var noteBytes []byte
	for _, n := range notes {
		noteBytes = elfnote.Append(noteBytes, n)
	}
	phNum := len(loads) + 1
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{
			elf.EI_CLASS: byte(elf.ELFCLASS64), elf.EI_DATA: byte(elf.ELFDATA2LSB), elf.EI_VERSION: byte(elf.EV_CURRENT),
		},
		Type: uint16(elf.ET_CORE), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: ehdr64, Ehsize: ehdr64, Phentsize: phdr64, Phnum: uint16(min(phNum, phNumExtended)),
	}
	copy(h.Ident[:], elf.ELFMAG)
	off := uint64(ehdr64 + phNum*phdr64)
	extended := phNum >= phNumExtended
	if extended {
		h.Shoff, h.Shnum, h.Shentsize = off, 1, shdr64
		off += shdr64
	}

	var b bytes.Buffer
	encode(&b, &h)
	encode(&b, &elf.Prog64{Type: uint32(elf.PT_NOTE), Off: off, Filesz: uint64(len(noteBytes)), Align: 4})
	off += uint64(len(noteBytes))
	pad := -off & (x86.PageSize - 1)
	off += pad
	for _, l := range loads {
		p := elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Off: off, Paddr: uint64(l.first.Phys()), Align: x86.PageSize,
			Filesz: uint64((l.inFile - l.first).Phys()), Memsz: uint64((l.end - l.first).Phys()),
		}
		encode(&b, &p)
		off += p.Filesz
		if b.Len() > 1<<20 {
			if _, err := b.WriteTo(w); err != nil {
				return err
			}
		}
	}
	if extended {
		encode(&b, &elf.Section64{Size: 1, Info: uint32(phNum)})
	}
	b.Write(noteBytes)
	b.Write(make([]byte, pad))
	_, err := b.WriteTo(w)
	return err
}
