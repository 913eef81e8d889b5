// Package elfnote reads and writes the notes of a memory capture: who made it, what the processors were doing, and
// what the kernel says of itself.
//
// The content of a PT_NOTE segment, and of the note area of a kdump file, is a row of notes, each padded to four
// bytes (to eight where the segment's alignment is eight):
//
//	0   u32 namesz      bytes of the name, with its final NUL
//	4   u32 descsz      bytes of the content
//	8   u32 type
//	12  name            padded
//	    desc            padded
//
// Three kinds matter here:
//
//	CORE        type 1   NT_PRSTATUS: one CPU's registers as the kernel or QEMU saved them     [PRStatus]
//	QEMU        type 0   one CPU's whole state, control registers included                     [CPU]
//	VMCOREINFO  type 0   lines KEY=value of the kernel (its CONFIG_VMCORE_INFO)                [VMCoreInfo]
//
// What must always hold: a note's bytes lie within its segment, and a length that says otherwise is an error that
// names the file offset. Unknown notes are kept.
package elfnote

import (
	"encoding/binary"

	"ptemu/capture/ferr"
)

// Note is one note. Desc aliases the bytes it was parsed from.
type Note struct {
	Name string // without its NUL
	Type uint32
	Desc []byte
	Off  int64 // file offset of the note's header
}

// Names and types of the notes that this package understands.
const (
	NameCore       = "CORE"
	NameQEMU       = "QEMU"
	NameVMCoreInfo = "VMCOREINFO"

	TypePRStatus = 1 // NT_PRSTATUS, under NameCore
)

// MaxNotes is the number of notes that are read at most, to bound memory. Two for each of 8192 processors, the most
// that Linux is built for, are an eighth of it.
const MaxNotes = 1 << 17

const (
	format     = "ELF notes"
	headerSize = 12
)

// Parse splits b, which starts at file offset base, into notes padded to four bytes.
func Parse(b []byte, base int64) ([]Note, error) { return ParseAligned(b, base, 4) }

// ParseAligned is [Parse] for a segment whose p_align is align. Only 8 makes a difference: files give 0, 1 or 4096
// and still pad to four.
//
// Zero bytes from a note's start to the end of b are padding, not notes. The padding of the last note may be
// missing.
func ParseAligned(b []byte, base int64, align uint64) ([]Note, error) {
	pad := 4
	if align == 8 {
		pad = 8
	}
	used := len(b) // up to the last byte that is not zero
	for used > 0 && b[used-1] == 0 {
		used--
	}
	notes := []Note{}
	for off := 0; off < used; {
		at := base + int64(off)
		if len(b)-off < headerSize {
			return nil, ferr.New(format, at, "%d bytes are left, a note header has %d", len(b)-off, headerSize)
		}
		if len(notes) == MaxNotes {
			return nil, ferr.New(format, at, "more than %d notes", MaxNotes)
		}
		nameLen := binary.LittleEndian.Uint32(b[off:])
		descLen := binary.LittleEndian.Uint32(b[off+4:])
		typ := binary.LittleEndian.Uint32(b[off+8:])

		rest := uint64(len(b) - off - headerSize)
		if uint64(nameLen) > rest {
			return nil, ferr.New(format, at, "name of %d bytes, %d are left", nameLen, rest)
		}
		name := off + headerSize
		desc := roundUp(headerSize+int(nameLen), pad) + off
		if descLen == 0 {
			desc = min(desc, len(b))
		}
		if desc > len(b) || uint64(descLen) > uint64(len(b)-desc) {
			return nil, ferr.New(format, at, "content of %d bytes does not fit its segment", descLen)
		}
		notes = append(notes, Note{
			Name: cString(b[name : name+int(nameLen)]),
			Type: typ,
			Desc: b[desc : desc+int(descLen) : desc+int(descLen)],
			Off:  at,
		})
		off = roundUp(desc-off+int(descLen), pad) + off
	}
	return notes, nil
}

// Append appends n to b, padded to four bytes.
func Append(b []byte, n Note) []byte {
	var h [headerSize]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(len(n.Name)+1))
	binary.LittleEndian.PutUint32(h[4:], uint32(len(n.Desc)))
	binary.LittleEndian.PutUint32(h[8:], n.Type)
	b = append(b, h[:]...)
	b = append(b, n.Name...)
	b = append(b, make([]byte, roundUp(len(n.Name)+1, 4)-len(n.Name))...)
	b = append(b, n.Desc...)
	return append(b, make([]byte, roundUp(len(n.Desc), 4)-len(n.Desc))...)
}

// VMCoreInfo returns the content of the first non-empty VMCOREINFO note, nil if there is none.
//
// Linux: kernel/vmcore_info.c:update_vmcoreinfo_note()
func VMCoreInfo(notes []Note) []byte {
	for _, n := range notes {
		if n.Name == NameVMCoreInfo && len(n.Desc) > 0 {
			return n.Desc
		}
	}
	return nil
}

// VMCoreInfoNote makes the note that [VMCoreInfo] reads.
func VMCoreInfoNote(info []byte) Note { return Note{Name: NameVMCoreInfo, Desc: info} }

func roundUp(n, to int) int { return (n + to - 1) &^ (to - 1) }

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
