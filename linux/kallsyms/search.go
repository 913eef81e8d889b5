package kallsyms

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"ptemu/arch/x86"
)

// Bounds of a search.
const (
	maxBefore     = 16 << 20 // bytes of names and what is between them and the tokens
	maxIndexes    = 64       // places that look like a token index
	maxWalked     = 1 << 26  // names looked at
	minSearchSyms = 256      // fewer make too few markers to be sure
)

// Search finds the tables by their shape in the kernel image, which lies from first to last, for kernels whose VMCOREINFO
// does not name them. stext is where _stext is; 0 stands for the start of the image, where it usually is. It knows the orders
// of the tables since 5.0. The error wraps [ErrNoTables] or is about the tables that were found.
//
// The 256 ascending numbers of token_index are hard to mistake, and the texts end right before them. Names come somewhere before:
// as many as the word in front of them says, and behind them, the offset of every 256th (markers). The addresses are before
// the number of names, or, since 6.5, behind token_index.
//
// Linux: scripts/kallsyms.c:write_src()
func Search(mem Memory, first, last, stext x86.Virt) (*Symbols, error) {
	if stext == 0 {
		stext = first
	}
	var found []error
	walk := maxWalked
	for _, p := range findTokens(mem, first, last) {
		p.stext = stext
		var tokens Symbols
		if tokens.readTokens(mem, &p) != nil {
			continue
		}
		n, ok := tokens.findNames(mem, first, &p, &walk)
		if !ok {
			continue
		}
		for _, p := range addressPlaces(p, n) {
			s, err := parse(mem, &p)
			if err == nil {
				return s, nil
			}
			found = append(found, err)
		}
	}
	if len(found) > 0 {
		return nil, fmt.Errorf("kallsyms tables found by their shape: %w", errors.Join(found...))
	}
	return nil, fmt.Errorf("%w: nothing in the kernel image from %v to %v looks like them", ErrNoTables, first, last)
}

const indexSize = 2 * 256

// findTokens returns the places of token_table and token_index.
func findTokens(mem Memory, first, last x86.Virt) []places {
	var indexes []x86.Virt
	eachStretch(mem, first, last, indexSize, func(s stretch) bool {
		for i := 0; i+indexSize <= len(s.b) && len(indexes) < maxIndexes; i += 4 {
			if at := s.va + x86.Virt(i); ascending(s.b[i:i+indexSize]) && !slices.Contains(indexes, at) {
				indexes = append(indexes, at)
			}
		}
		return len(indexes) < maxIndexes
	})
	var out []places
	for _, at := range indexes {
		if table, ok := tokenTable(mem, at); ok {
			out = append(out, places{tokenIndex: at, tokenTable: table})
		}
	}
	return out
}

// ascending reports whether b could be token_index: numbers that ascend from 0.
func ascending(b []byte) bool {
	if b[0] != 0 || b[1] != 0 {
		return false
	}
	for i := 2; i < len(b); i += 2 {
		if binary.LittleEndian.Uint16(b[i:]) <= binary.LittleEndian.Uint16(b[i-2:]) {
			return false
		}
	}
	return true
}

// tokenTable returns where the texts begin whose index is at va: so that a NUL is where each must end, and nothing but
// zeros is between the last and the index.
func tokenTable(mem Memory, va x86.Virt) (x86.Virt, bool) {
	var index [indexSize]byte
	if mem.ReadAt(index[:], va) != nil {
		return 0, false
	}
	const most = 128 // the last text and the padding behind it
	begin := int(binary.LittleEndian.Uint16(index[indexSize-2:]))
	text := make([]byte, begin+most)
	if mem.ReadAt(text, va-x86.Virt(len(text))) != nil {
		return 0, false
	}
	for start := len(text) % 4; start < most; start += 4 { // as aligned as va
		if t := text[start:]; endsFit(t, &index) {
			return va - x86.Virt(len(t)), true
		}
	}
	return 0, false
}

// endsFit reports whether t has a NUL where each text of the index must end.
func endsFit(t []byte, index *[indexSize]byte) bool {
	for i := 2; i < indexSize; i += 2 {
		if t[binary.LittleEndian.Uint16(index[i:])-1] != 0 {
			return false
		}
	}
	rest := t[binary.LittleEndian.Uint16(index[indexSize-2:]):]
	end := slices.Index(rest, 0)
	return end >= 0 && !slices.ContainsFunc(rest[end:], func(c byte) bool { return c != 0 })
}

// findNames finds the names that belong to the tokens, and how many there are. walk is how many names it may still look at.
func (s *Symbols) findNames(mem Memory, first x86.Virt, p *places, walk *int) (n int, ok bool) {
	b := before(mem, first, p.tokenTable)
	base := p.tokenTable - x86.Virt(len(b))
	types := s.types()
	for i := len(b) &^ 3; i >= 0; i -= 4 {
		if i+12 > len(b) || *walk <= 0 {
			continue
		}
		// A name takes 3 bytes and more; everything in between, less than 64 for each.
		n := int(binary.LittleEndian.Uint32(b[i:]))
		if n < minSearchSyms || n > maxSyms || len(b)-i < 3*n || len(b)-i > 64*n {
			continue
		}
		for _, from := range []int{i + 4, i + 8} {
			if namesFit(b[from:], n, types, walk) {
				p.numSyms, p.names = base+x86.Virt(i), base+x86.Virt(from)
				return n, true
			}
		}
	}
	return 0, false
}

// before returns the memory before va that can be read, down to first and not more than maxBefore, from a page boundary on.
func before(mem Memory, first, va x86.Virt) []byte {
	var pages [][]byte
	size := 0
	for end := va; end > first && size < maxBefore; {
		start := max((end-1)&^(x86.PageSize-1), first)
		page := make([]byte, end-start)
		if mem.ReadAt(page, start) != nil {
			break
		}
		pages, size, end = append(pages, page), size+len(page), start
	}
	slices.Reverse(pages)
	return slices.Concat(pages...)
}

// types returns which tokens begin with a symbol's type.
func (s *Symbols) types() *[256]bool {
	var out [256]bool
	for i, t := range s.tokens {
		out[i] = t != "" && t[0]|0x20 >= 'a' && t[0]|0x20 <= 'z'
	}
	return &out
}

// namesFit reports whether b begins with n names, each with a type, and with the markers behind them.
func namesFit(b []byte, n int, types *[256]bool, walk *int) bool {
	marks := make([]int, 0, n/256+1)
	off := 0
	for i := range n {
		if i%256 == 0 {
			marks = append(marks, off)
		}
		if *walk--; *walk <= 0 || off+2 > len(b) {
			return false
		}
		size, head := nameLen(b[off:])
		if size == 0 || off+head >= len(b) || !types[b[off+head]] {
			return false
		}
		off += head + size
	}
	for _, align := range []int{4, 8} {
		at := (off + align - 1) &^ (align - 1)
		if at+4*len(marks) <= len(b) && markersFit(b[at:], marks) {
			return true
		}
	}
	return false
}

func markersFit(b []byte, marks []int) bool {
	for i, m := range marks {
		if int(binary.LittleEndian.Uint32(b[4*i:])) != m {
			return false
		}
	}
	return true
}

// addressPlaces completes p with the places where the addresses may be.
func addressPlaces(p places, n int) []places {
	behind, inFront, whole := p, p, p
	behind.offsets = p.tokenIndex + indexSize
	behind.relativeBase = (behind.offsets + x86.Virt(4*n) + 7) &^ 7
	inFront.relativeBase = p.numSyms - 8
	inFront.offsets = inFront.relativeBase - x86.Virt(4*n+7)&^7
	whole.addresses = p.numSyms - x86.Virt(8*n)
	return []places{behind, inFront, whole}
}
