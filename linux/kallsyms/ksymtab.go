package kallsyms

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"ptemu/arch/x86"
)

// ErrNoExport: the export table does not have the symbol, or was not found.
var ErrNoExport = errors.New("no such exported symbol")

// maxTexts bounds the places at which a name's text may stand: the ends of longer names count.
const maxTexts = 256

// maxTried bounds the words that point at the name: in a real image, a few.
const maxTried = 1 << 16

// minNeighbours is how many entries an export table must have around one that is taken for true. Other tables, such as
// the kernel's type information, look like a few entries by chance.
const minNeighbours = 8

// Distances between entries of the export table: value and name, and since 5.4 a namespace, 4 bytes each.
//
// Linux: include/linux/export-internal.h:__KSYMTAB(); include/asm-generic/export.h
var exportSizes = [...]int{12, 8}

// FindExport finds the address of a symbol that modules may use, by the export table (__ksymtab) in the kernel image, which
// lies from first to last. No other symbol is needed for it: it searches the image for the name, and for an entry
// that points at it. An entry holds the distances from itself to the symbol and to its name; the table is sorted by name.
//
// The error wraps [ErrNoExport] if there is no such entry, or several that disagree.
func FindExport(mem Memory, first, last x86.Virt, name string) (x86.Virt, error) {
	if name == "" {
		return 0, fmt.Errorf("%w: no name", ErrNoExport)
	}
	texts := findText(mem, first, last, name)
	if len(texts) == 0 {
		return 0, fmt.Errorf("%w: the kernel image does not hold the text %q", ErrNoExport, name)
	}
	t := exportTable{mem: mem, first: first, last: last}
	var found []x86.Virt
	tried := 0
	const half = 4 // an entry's value precedes the reference to its name
	low, high := texts[0], texts[len(texts)-1]
	eachStretch(mem, first, last, 2*half, func(s stretch) bool {
		for i := half; i+half <= len(s.b); i += half {
			at := s.va + x86.Virt(i)
			text := at + x86.Virt(relative(s.b[i:]))
			if text < low || text > high {
				continue
			}
			if _, ok := slices.BinarySearch(texts, text); !ok {
				continue
			}
			if tried++; tried > maxTried {
				return false
			}
			to := at - half + x86.Virt(relative(s.b[i-half:]))
			if t.inImage(to) && t.among(at-half) && !slices.Contains(found, to) {
				found = append(found, to)
			}
		}
		return len(found) < 2
	})
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("%w: no entry of the export table names %q", ErrNoExport, name)
	}
	return 0, fmt.Errorf("%w: what looks like the export table has %q at %v and at %v", ErrNoExport, name, found[0], found[1])
}

func relative(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) }

// findText returns where name stands with a NUL behind it, ascending. It may be the end of a longer name: the linker lets one
// text serve for both.
func findText(mem Memory, first, last x86.Virt, name string) []x86.Virt {
	var out []x86.Virt
	text := append([]byte(name), 0)
	eachStretch(mem, first, last, len(name), func(s stretch) bool {
		for at := 0; len(out) < maxTexts; {
			i := bytes.Index(s.b[at:], text)
			if i < 0 {
				return true
			}
			out = append(out, s.va+x86.Virt(at+i))
			at += i + len(text)
		}
		return false
	})
	return out
}

// exportTable judges what looks like an entry.
type exportTable struct {
	mem         Memory
	first, last x86.Virt
}

func (t *exportTable) inImage(va x86.Virt) bool { return va >= t.first && va <= t.last }

// among reports whether the entry at va has minNeighbours others around it, where those of either size would be, and
// the names of all ascend: the table is sorted.
func (t *exportTable) among(va x86.Virt) bool {
	for _, size := range exportSizes {
		d := x86.Virt(size)
		if t.ascend(va, d)+t.ascend(va, -d) >= minNeighbours {
			return true
		}
	}
	return false
}

// ascend returns how many entries, minNeighbours at most, follow the one at va in steps of d, with names that ascend; or
// descend, if d is negative.
func (t *exportTable) ascend(va, d x86.Virt) int {
	last, _ := t.entry(va)
	for n := range minNeighbours {
		va += d
		name, ok := t.entry(va)
		if !ok || name == last || name < last == (int64(d) > 0) {
			return n
		}
		last = name
	}
	return minNeighbours
}

// entry returns the name in the entry at va, if it is one: of a symbol in the image, by a name in it.
func (t *exportTable) entry(va x86.Virt) (string, bool) {
	var b [8]byte
	if t.mem.ReadAt(b[:], va) != nil || !t.inImage(va+x86.Virt(relative(b[:]))) {
		return "", false
	}
	return t.name(va + 4 + x86.Virt(relative(b[4:])))
}

// name returns the identifier at va.
func (t *exportTable) name(va x86.Virt) (string, bool) {
	var buf [maxName]byte
	for got := 0; got < len(buf) && t.inImage(va+x86.Virt(got)); {
		at := va + x86.Virt(got)
		part := buf[got:min(len(buf), got+int(min(64, x86.PageSize-at.Offset())))]
		if t.mem.ReadAt(part, at) != nil {
			return "", false
		}
		for i, c := range part {
			if c == 0 {
				return string(buf[:got+i]), got+i > 0
			}
			if !identifier(c) {
				return "", false
			}
		}
		got += len(part)
	}
	return "", false
}

func identifier(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
