package ktype

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Bounds of one question.
const (
	maxChain   = 32      // typedefs and qualifiers in front of a type, and arrays of arrays
	maxNesting = 16      // anonymous structures in one another
	maxMembers = 1 << 17 // members looked at
)

// Member is where a member lies in its structure.
type Member struct {
	// Offset is that of its first byte. Of a bit field it is the byte that holds its lowest bit.
	Offset uint64
	// Size is in bytes; 0 for a bit field and a flexible array.
	Size uint64
	// Bits is the width of a bit field, 0 for all others; Shift is where in the byte at Offset it begins.
	Bits, Shift uint
	// Count is how many elements an array has, 0 for all others.
	Count uint64

	typ id
}

// Member finds a member of a structure or union by its path, as C has it: "mm_mt.ma_root". Members of anonymous
// structures and unions are found as C finds them. A name that several types have must mean the same in all that have
// the member. The error wraps [ErrNotFound] or [ErrFormat].
func (t *Types) Member(typ, path string) (Member, error) {
	var found Member
	known := false
	for _, i := range t.all(typ) {
		m, ok, err := t.path(i, path)
		if err != nil {
			return Member{}, fmt.Errorf("%s.%s: %w", typ, path, err)
		}
		if !ok {
			continue
		}
		if known && m.Offset != found.Offset {
			return Member{}, fmt.Errorf("%s.%s: %w: two types of this name differ", typ, path, ErrFormat)
		}
		found, known = m, true
	}
	if !known {
		return Member{}, fmt.Errorf("%s.%s: %w", typ, path, ErrNotFound)
	}
	return found, nil
}

// Offset returns the offset of a member in bytes; see [Types.Member]. A bit field is an error.
func (t *Types) Offset(typ, path string) (uint64, error) {
	m, err := t.Member(typ, path)
	if err == nil && m.Bits != 0 {
		return 0, fmt.Errorf("%s.%s: %w: it is a bit field", typ, path, ErrFormat)
	}
	return m.Offset, err
}

// Size returns the size in bytes of a structure, union, enumeration or typedef; of several of a name, of the first. The error wraps [ErrNotFound] or
// [ErrFormat].
func (t *Types) Size(typ string) (uint64, error) {
	for _, i := range t.all(typ) {
		n, ok := t.sizeOf(i)
		if !ok {
			return 0, fmt.Errorf("%s: %w: it has no size", typ, ErrFormat)
		}
		return n, nil
	}
	return 0, fmt.Errorf("%s: %w", typ, ErrNotFound)
}

// all returns the structures, unions and enumerations of a name, or else the typedef.
func (t *Types) all(name string) []id {
	i, ok := t.tags[name]
	if !ok {
		if i, ok = t.alias[name]; ok {
			return []id{id(i)}
		}
		return nil
	}
	ids := []id{id(i)}
	for _, i := range t.more[name] {
		ids = append(ids, id(i))
	}
	return ids
}

// path follows a path from type i.
func (t *Types) path(i id, path string) (Member, bool, error) {
	s := search{t: t, left: maxMembers}
	m := Member{typ: i}
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		in, ok := s.find(m.typ, name, maxNesting)
		if s.left < 0 {
			return Member{}, false, fmt.Errorf("%w: too many members", ErrFormat)
		}
		if !ok {
			return Member{}, false, nil
		}
		in.Offset += m.Offset
		m = in
	}
	if m.Bits == 0 {
		m.Size, _ = t.sizeOf(m.typ)
		if h, b := t.at(t.strip(m.typ)); h.kind == kindArray {
			m.Count = uint64(binary.LittleEndian.Uint32(b[8:]))
		}
	}
	return m, true, nil
}

// search is one look for a member.
type search struct {
	t    *Types
	left int // members that may still be looked at
}

// find looks for a member by its name, also in the anonymous structures and unions in it.
func (s *search) find(i id, name string, depth int) (Member, bool) {
	h, b := s.t.at(s.t.strip(i))
	if h.kind != kindStruct && h.kind != kindUnion || depth == 0 || name == "" {
		return Member{}, false
	}
	for ; len(b) >= 12; b = b[12:] {
		if s.left--; s.left < 0 {
			return Member{}, false
		}
		m := member(b, h.flag)
		switch s.t.name(binary.LittleEndian.Uint32(b)) {
		case name:
			return m, true
		case "":
			if in, ok := s.find(m.typ, name, depth-1); ok {
				in.Offset += m.Offset
				return in, true
			}
		}
	}
	return Member{}, false
}

// member decodes a member. With bit fields in its structure, the upper 8 bits of its offset are a width in bits.
func member(b []byte, bitfields bool) Member {
	off := binary.LittleEndian.Uint32(b[8:])
	m := Member{typ: id(binary.LittleEndian.Uint32(b[4:]))}
	if bitfields {
		m.Bits, off = uint(off>>24), off&0xffffff
	}
	m.Offset, m.Shift = uint64(off/8), uint(off%8)
	return m
}

// strip follows typedefs and qualifiers to the type behind them.
func (t *Types) strip(i id) id {
	for range maxChain {
		h, _ := t.at(i)
		switch h.kind {
		case kindTypedef, kindVolatile, kindConst, kindRestrict, kindTypeTag:
			i = id(h.ref)
		default:
			return i
		}
	}
	return 0
}

// sizeOf returns the size of a type in bytes.
func (t *Types) sizeOf(i id) (uint64, bool) {
	n := uint64(1)
	for range maxChain {
		h, b := t.at(t.strip(i))
		size := uint64(h.ref)
		switch h.kind {
		case kindInt, kindStruct, kindUnion, kindEnum, kindEnum64, kindFloat:
		case kindPointer:
			size = 8
		case kindArray:
			n *= uint64(binary.LittleEndian.Uint32(b[8:]))
			i = id(binary.LittleEndian.Uint32(b))
			if n > 1<<32 {
				return 0, false
			}
			continue
		default:
			return 0, false
		}
		return n * size, true
	}
	return 0, false
}
