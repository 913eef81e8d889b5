package ktype

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrFormat is in the chain of errors about type information that is none.
var ErrFormat = errors.New("bad type information (BTF)")

// ErrNotFound is in the chain of errors about a type or a member that this kernel does not have.
var ErrNotFound = errors.New("not in the kernel's types")

// Bounds: some times what the largest kernels have.
const (
	MaxSize  = 32 << 20 // bytes of one blob
	maxTypes = 1 << 20
	maxSame  = 8 // types of one name that are looked at
)

// headerSize is the shortest header: of all known kernels.
const headerSize = 24

// Magic is how the type information of a kernel begins: its magic number, the version, no flags.
const Magic = "\x9f\xeb\x01\x00"

// The kinds of types.
//
// Linux: include/uapi/linux/btf.h
const (
	kindInt       = 1
	kindPointer   = 2
	kindArray     = 3
	kindStruct    = 4
	kindUnion     = 5
	kindEnum      = 6
	kindForward   = 7
	kindTypedef   = 8
	kindVolatile  = 9
	kindConst     = 10
	kindRestrict  = 11
	kindFunc      = 12
	kindFuncProto = 13
	kindVar       = 14
	kindDatasec   = 15
	kindFloat     = 16
	kindDeclTag   = 17
	kindTypeTag   = 18
	kindEnum64    = 19
	kindCount     = 20
)

const typeSize = 12 // of what all kinds have

// extra gives the bytes that follow a type: fixed, and for each of its elements.
var extra = [kindCount]struct{ fixed, each int }{
	kindInt: {4, 0}, kindArray: {12, 0}, kindStruct: {0, 12}, kindUnion: {0, 12}, kindEnum: {0, 8}, kindFuncProto: {0, 8},
	kindVar: {4, 0}, kindDatasec: {0, 12}, kindDeclTag: {4, 0}, kindEnum64: {0, 12},
}

// Types is the type information of one kernel. It may be used by any number of goroutines.
type Types struct {
	raw   []byte
	names string
	start []uint32            // by number: where in raw the type begins
	tags  map[string]uint32   // structures, unions and enumerations: the first of each name
	more  map[string][]uint32 // further ones of the same name
	alias map[string]uint32   // typedefs, which have names of their own
}

// id is the number of a type; 0 is void.
type id uint32

// Size returns how long the type information is whose first bytes are b, header included, by its header alone. The error
// wraps [ErrFormat].
func Size(b []byte) (uint64, error) {
	h, err := parseHeader(b)
	if err != nil {
		return 0, err
	}
	return h.size(), nil
}

// HeaderSize is how many bytes [Size] needs.
const HeaderSize = headerSize

type header struct{ length, typeOff, typeLen, strOff, strLen uint64 }

func (h header) size() uint64 { return h.length + max(h.typeOff+h.typeLen, h.strOff+h.strLen) }

func parseHeader(b []byte) (header, error) {
	if len(b) < headerSize || !strings.HasPrefix(string(b[:headerSize]), Magic) {
		return header{}, fmt.Errorf("%w: no header", ErrFormat)
	}
	word := func(off int) uint64 { return uint64(binary.LittleEndian.Uint32(b[off:])) }
	h := header{word(4), word(8), word(12), word(16), word(20)}
	switch {
	case h.length < headerSize:
		return h, fmt.Errorf("%w: a header of %d bytes", ErrFormat, h.length)
	case h.size() > MaxSize:
		return h, fmt.Errorf("%w: %d bytes, at most %d expected", ErrFormat, h.size(), MaxSize)
	case h.typeLen == 0 || h.strLen == 0:
		return h, fmt.Errorf("%w: empty", ErrFormat)
	}
	return h, nil
}

// Parse reads type information. What follows it in b is not looked at. b must not change afterwards. The error wraps
// [ErrFormat].
func Parse(b []byte) (*Types, error) {
	h, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	if h.size() > uint64(len(b)) {
		return nil, fmt.Errorf("%w: %d bytes by its header, %d are there", ErrFormat, h.size(), len(b))
	}
	body := b[h.length:]
	t := &Types{
		raw:   body[h.typeOff : h.typeOff+h.typeLen],
		names: string(body[h.strOff : h.strOff+h.strLen]),
		tags:  map[string]uint32{},
		more:  map[string][]uint32{},
		alias: map[string]uint32{},
	}
	if t.names[0] != 0 || t.names[len(t.names)-1] != 0 {
		return nil, fmt.Errorf("%w: its names are not NUL-terminated", ErrFormat)
	}
	if err := t.index(); err != nil {
		return nil, err
	}
	return t, nil
}

// index finds where each type begins.
func (t *Types) index() error {
	t.start = append(make([]uint32, 0, len(t.raw)/32), 0)
	for at := 0; at < len(t.raw); {
		if len(t.raw)-at < typeSize {
			return fmt.Errorf("%w: type %d is cut off", ErrFormat, len(t.start))
		}
		if len(t.start) > maxTypes {
			return fmt.Errorf("%w: more than %d types", ErrFormat, maxTypes)
		}
		h := head(t.raw[at:])
		if h.kind >= kindCount || h.kind == 0 {
			return fmt.Errorf("%w: type %d is of kind %d, which is not known", ErrFormat, len(t.start), h.kind)
		}
		n := typeSize + extra[h.kind].fixed + h.count*extra[h.kind].each
		if n > len(t.raw)-at {
			return fmt.Errorf("%w: type %d is cut off", ErrFormat, len(t.start))
		}
		t.remember(h)
		t.start = append(t.start, uint32(at))
		at += n
	}
	return nil
}

// remember enters the type that comes next in the names.
func (t *Types) remember(h typeHead) {
	to := t.tags
	switch h.kind {
	case kindStruct, kindUnion, kindEnum, kindEnum64:
	case kindTypedef:
		to = t.alias
	default:
		return
	}
	name := t.name(h.name)
	if name == "" {
		return
	}
	number := uint32(len(t.start))
	if _, seen := to[name]; !seen {
		to[name] = number
	} else if h.kind != kindTypedef && len(t.more[name]) < maxSame-1 {
		t.more[name] = append(t.more[name], number)
	}
}

// name returns the name at an offset, "" if there is none.
func (t *Types) name(off uint32) string {
	if uint64(off) >= uint64(len(t.names)) {
		return ""
	}
	s := t.names[off:]
	return s[:strings.IndexByte(s, 0)] // the last byte is 0
}

// typeHead is what all kinds of types begin with.
type typeHead struct {
	name  uint32
	kind  uint32
	count int  // of elements
	flag  bool // members have bit sizes; constants are signed
	ref   uint32
}

func head(b []byte) typeHead {
	info := binary.LittleEndian.Uint32(b[4:])
	return typeHead{
		name:  binary.LittleEndian.Uint32(b),
		kind:  info >> 24 & 0x1f,
		count: int(info & 0xffff),
		flag:  info>>31 != 0,
		ref:   binary.LittleEndian.Uint32(b[8:]),
	}
}

// at returns a type's head and what its kind adds; kind 0 for void and numbers that are none.
func (t *Types) at(i id) (typeHead, []byte) {
	if i == 0 || int64(i) >= int64(len(t.start)) {
		return typeHead{}, nil
	}
	b := t.raw[t.start[i]:]
	h := head(b)
	n := extra[h.kind].fixed + h.count*extra[h.kind].each
	return h, b[typeSize : typeSize+n]
}
