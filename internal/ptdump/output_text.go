package ptdump

import (
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// textLeaves writes one aligned line per entry, for people. A problem is a line that begins with "!".
type textLeaves struct {
	flags *flagTable
	color palette
}

func newTextLeaves(abi *x86.ABI, color palette) *textLeaves {
	return &textLeaves{newFlagTable(abi, func(name string) string { return " " + name }), color}
}

const textLeafHead = "VA                  LEVEL SIZE RIGHTS RAW               KIND             POINTS TO                    FLAGS\n"

func (t *textLeaves) head(dst []byte) []byte {
	dst = append(dst, t.color.dim...)
	dst = append(dst, textLeafHead[:len(textLeafHead)-1]...)
	dst = append(dst, t.color.off(t.color.dim)...)
	return append(dst, '\n')
}

func (t *textLeaves) tail(dst []byte) []byte { return dst }

func (t *textLeaves) leaf(dst []byte, l *Leaf) []byte {
	dst = append(dst, "0x"...)
	dst = appendHex16(dst, uint64(l.VA))
	dst = append(dst, "  "...)
	dst = appendPadded(dst, l.Level.String(), 6)
	start := len(dst)
	dst = appendSize(dst, l.Level.Size())
	dst = pad(dst, 5-(len(dst)-start))
	color := t.color.rights(l.Rights)
	dst = append(dst, color...)
	dst = appendRights(dst, l.Rights)
	dst = append(dst, t.color.off(color)...)
	dst = append(dst, "   "...)
	dst = appendHex16(dst, l.Raw)
	dst = append(dst, "  "...)
	color = t.color.kind(l.Kind)
	dst = append(dst, color...)
	dst = appendPadded(dst, string(l.Kind), 17)
	dst = append(dst, t.color.off(color)...)
	start = len(dst)
	dst = appendTarget(dst, l)
	dst = pad(dst, 28-(len(dst)-start))
	dst = t.flags.append(dst, l.Level, l.Raw)
	if hasPkey(l) && pkeyOf(l) != 0 {
		dst = append(dst, " pkey="...)
		dst = strconv.AppendInt(dst, int64(pkeyOf(l)), 10)
	}
	if r := reservedBits(t.flags.abi, l); r != 0 {
		dst = append(dst, ' ')
		dst = append(dst, t.color.bad...)
		dst = append(dst, "reserved=0x"...)
		dst = strconv.AppendUint(dst, r, 16)
		dst = append(dst, t.color.off(t.color.bad)...)
	}
	dst = appendTextInvalid(dst, t.color, t.flags.invalid(l))
	return endLine(dst)
}

// appendTextInvalid appends why no kernel writes the entry, if that is so.
func appendTextInvalid(dst []byte, c palette, why string) []byte {
	if why == "" {
		return dst
	}
	dst = append(dst, c.bad...)
	dst = append(dst, " invalid: "...)
	dst = append(dst, why...)
	return append(dst, c.off(c.bad)...)
}

// endLine drops the spaces at the end of the line and ends it.
func endLine(dst []byte) []byte {
	for n := len(dst); dst[n-1] == ' '; n = len(dst) {
		dst = dst[:n-1]
	}
	return append(dst, '\n')
}

func (t *textLeaves) problem(dst []byte, p *Problem) []byte {
	return appendTextProblem(dst, t.color, p)
}

// appendTextProblem appends the line that stands in the output where a part of the address space could not be
// explained.
func appendTextProblem(dst []byte, c palette, p *Problem) []byte {
	dst = append(dst, c.bad...)
	dst = append(dst, "! 0x"...)
	dst = appendHex16(dst, uint64(p.VA))
	dst = append(dst, ' ')
	dst = append(dst, p.Level.String()...)
	dst = append(dst, ' ')
	dst = appendSize(dst, p.Size)
	dst = append(dst, "  "...)
	dst = append(dst, problemText(p)...)
	dst = append(dst, " (entry "...)
	dst = appendHex16(dst, p.Raw)
	dst = append(dst, " at "...)
	dst = append(dst, p.Entry.String()...)
	dst = append(dst, ')')
	dst = append(dst, c.off(c.bad)...)
	return append(dst, '\n')
}

// appendRights appends "rwxu" with "-" for each right that is missing.
func appendRights(dst []byte, r Rights) []byte {
	for _, b := range [...]struct {
		on bool
		c  byte
	}{{r.R, 'r'}, {r.W, 'w'}, {r.X, 'x'}, {r.U, 'u'}} {
		if b.on {
			dst = append(dst, b.c)
		} else {
			dst = append(dst, '-')
		}
	}
	return dst
}

// String returns "rwxu" with "-" for each right that is missing.
func (r Rights) String() string { return string(appendRights(nil, r)) }

// appendTarget appends what the entry points to: a frame, a swap slot, the state of a migrating page.
func appendTarget(dst []byte, l *Leaf) []byte {
	switch l.Kind {
	case KindMarker:
		if l.Swap.Marker == 0 {
			return append(dst, "empty"...)
		}
		return append(dst, l.Swap.Marker.String()...)
	case KindSwap:
		dst = append(dst, "device "...)
		dst = strconv.AppendUint(dst, uint64(l.Swap.Type), 10)
		dst = append(dst, " slot 0x"...)
		return strconv.AppendUint(dst, swapOffset(l), 16)
	}
	if l.HasPFN {
		dst = append(dst, "pfn 0x"...)
		dst = strconv.AppendUint(dst, uint64(l.PFN), 16)
	} else if hasSwap(l) {
		dst = append(dst, "offset 0x"...)
		dst = strconv.AppendUint(dst, swapOffset(l), 16)
	}
	if l.Invalidated() {
		dst = append(dst, ", being changed"...)
	}
	switch l.Kind {
	case KindMigration:
		dst = append(dst, ' ')
		dst = append(dst, l.Swap.Access.String()...)
		if l.Swap.Young {
			dst = append(dst, " young"...)
		}
		if l.Swap.Dirty {
			dst = append(dst, " dirty"...)
		}
	case KindDevicePrivate, KindDeviceExclusive:
		if l.Swap.Write {
			dst = append(dst, " write"...)
		} else {
			dst = append(dst, " read"...)
		}
	}
	return dst
}

// csvLeaves writes a header and one record per entry. A problem is a record of the kind "problem".
type csvLeaves struct{ flags *flagTable }

func newCSVLeaves(abi *x86.ABI) *csvLeaves {
	return &csvLeaves{newFlagTable(abi, func(name string) string { return name + "|" })}
}

// csvLeafColumns are the columns of entries --format csv. Lists are joined with "|"; what an entry does not have is
// empty; rights and other truth values are 0 or 1.
var csvLeafColumns = []string{
	"va", "level", "size", "raw", "kind", "pfn", "r", "w", "x", "u", "pkey", "bits",
	"swap_type", "swap_offset", "uffd_wp", "soft_dirty", "exclusive",
	"migration_access", "young", "dirty", "marker", "entry_pa", "reserved", "invalid", "problem",
}

func (c *csvLeaves) head(dst []byte) []byte {
	return append(append(dst, strings.Join(csvLeafColumns, ",")...), '\n')
}

func (c *csvLeaves) tail(dst []byte) []byte { return dst }

// appendCSVPlace appends the columns that entries and problems share.
func appendCSVPlace(dst []byte, va x86.Virt, level x86.Level, size, raw uint64, kind string) []byte {
	dst = append(dst, "0x"...)
	dst = appendHex16(dst, uint64(va))
	dst = append(dst, ',')
	dst = append(dst, level.String()...)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, size, 10)
	dst = append(dst, ',')
	dst = appendHex16(dst, raw)
	dst = append(dst, ',')
	dst = append(dst, kind...)
	return append(dst, ',')
}

func (c *csvLeaves) leaf(dst []byte, l *Leaf) []byte {
	dst = appendCSVPlace(dst, l.VA, l.Level, l.Level.Size(), l.Raw, string(l.Kind))
	if l.HasPFN {
		dst = strconv.AppendUint(dst, uint64(l.PFN), 10)
	}
	for _, on := range [...]bool{l.Rights.R, l.Rights.W, l.Rights.X, l.Rights.U} {
		dst = appendCSVBool(dst, on)
	}
	dst = append(dst, ',')
	if hasPkey(l) {
		dst = strconv.AppendInt(dst, int64(pkeyOf(l)), 10)
	}
	dst = append(dst, ',')
	dst = closeCSVList(c.flags.append(dst, l.Level, l.Raw))
	dst = appendCSVSwap(dst, l)
	dst = append(dst, ",0x"...)
	dst = strconv.AppendUint(dst, uint64(entryPlace(l)), 16)
	dst = append(dst, ',')
	if r := reservedBits(c.flags.abi, l); r != 0 {
		dst = appendHex16(dst, r)
	}
	dst = append(dst, ',')
	dst = appendCSVString(dst, c.flags.invalid(l))
	return append(dst, ",\n"...)
}

// closeCSVList drops the separator after the last element.
func closeCSVList(dst []byte) []byte {
	if n := len(dst) - 1; dst[n] == '|' {
		return dst[:n]
	}
	return dst
}

func appendCSVBool(dst []byte, on bool) []byte {
	if on {
		return append(dst, ",1"...)
	}
	return append(dst, ",0"...)
}

func appendCSVSwap(dst []byte, l *Leaf) []byte {
	if !hasSwap(l) {
		return append(dst, ",,,,,,,,,"...)
	}
	s := &l.Swap
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, uint64(s.Type), 10)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, swapOffset(l), 10)
	dst = appendCSVBool(dst, s.UffdWP)
	dst = appendCSVBool(dst, s.SoftDirty)
	dst = appendCSVBool(dst, s.Exclusive)
	dst = append(dst, ',')
	if l.Kind == KindMigration {
		dst = append(dst, s.Access.String()...)
		dst = appendCSVBool(dst, s.Young)
		dst = appendCSVBool(dst, s.Dirty)
	} else {
		dst = append(dst, ",,"...)
	}
	dst = append(dst, ',')
	if l.Kind == KindMarker {
		dst = append(dst, s.Marker.String()...)
	}
	return dst
}

func (c *csvLeaves) problem(dst []byte, p *Problem) []byte {
	dst = appendCSVPlace(dst, p.VA, p.Level, p.Size, p.Raw, "problem")
	for range len(csvLeafColumns) - 9 {
		dst = append(dst, ',')
	}
	dst = append(dst, "0x"...)
	dst = strconv.AppendUint(dst, uint64(p.Entry), 16)
	dst = append(dst, ",,,"...)
	dst = appendCSVString(dst, problemText(p))
	return append(dst, '\n')
}

// appendCSVString appends a field in quotes where it needs them (RFC 4180).
func appendCSVString(dst []byte, s string) []byte {
	if !strings.ContainsAny(s, "\",\r\n") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}
