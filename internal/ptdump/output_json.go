package ptdump

import (
	"strconv"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// jsonLeaves writes one object per entry, each on its own line: alone (jsonl), or as the elements of one array
// (json).
type jsonLeaves struct {
	flags *flagTable
	array bool
	some  bool
}

func newJSONLeaves(abi *x86.ABI, array bool) *jsonLeaves {
	return &jsonLeaves{
		flags: newFlagTable(abi, func(name string) string { return `"` + name + `",` }),
		array: array,
	}
}

func (j *jsonLeaves) head(dst []byte) []byte {
	if j.array {
		dst = append(dst, '[')
	}
	return dst
}

func (j *jsonLeaves) tail(dst []byte) []byte {
	if j.array {
		dst = append(dst, "\n]\n"...)
	}
	return dst
}

// begin separates the object to come from what is before it.
func (j *jsonLeaves) begin(dst []byte) []byte {
	if !j.array {
		return dst
	}
	if j.some {
		dst = append(dst, ',')
	}
	j.some = true
	return append(dst, '\n')
}

func (j *jsonLeaves) end(dst []byte) []byte {
	if j.array {
		return dst
	}
	return append(dst, '\n')
}

func (j *jsonLeaves) leaf(dst []byte, l *Leaf) []byte {
	dst = j.begin(dst)
	dst = append(dst, `{"va":"0x`...)
	dst = appendHex16(dst, uint64(l.VA))
	dst = append(dst, `","level":"`...)
	dst = append(dst, l.Level.String()...)
	dst = append(dst, `","size":`...)
	dst = strconv.AppendUint(dst, l.Level.Size(), 10)
	dst = append(dst, `,"raw":"`...)
	dst = appendHex16(dst, l.Raw)
	dst = append(dst, `","kind":"`...)
	dst = append(dst, l.Kind...)
	dst = append(dst, '"')
	if l.HasPFN {
		dst = append(dst, `,"pfn":`...)
		dst = strconv.AppendUint(dst, uint64(l.PFN), 10)
	}
	dst = append(dst, `,"bits":[`...)
	dst = closeList(j.flags.append(dst, l.Level, l.Raw))
	dst = appendJSONRights(dst, l.Rights)
	if hasPkey(l) {
		dst = append(dst, `,"pkey":`...)
		dst = strconv.AppendInt(dst, int64(pkeyOf(l)), 10)
	}
	if r := reservedBits(j.flags.abi, l); r != 0 {
		dst = append(dst, `,"reserved":"`...)
		dst = appendHex16(dst, r)
		dst = append(dst, '"')
	}
	dst = appendJSONInvalid(dst, j.flags.invalid(l))
	if hasSwap(l) {
		dst = appendJSONSwap(dst, l)
	}
	dst = append(dst, `,"entry_pa":"0x`...)
	dst = strconv.AppendUint(dst, uint64(entryPlace(l)), 16)
	dst = append(dst, `"}`...)
	return j.end(dst)
}

// closeList ends a list whose elements were each written with a comma.
func closeList(dst []byte) []byte {
	if n := len(dst) - 1; dst[n] == ',' {
		dst = dst[:n]
	}
	return append(dst, ']')
}

func appendJSONBool(dst []byte, key string, v bool) []byte {
	dst = append(dst, key...)
	return strconv.AppendBool(dst, v)
}

func appendJSONRights(dst []byte, r Rights) []byte {
	dst = appendJSONBool(dst, `,"rights":{"r":`, r.R)
	dst = appendJSONBool(dst, `,"w":`, r.W)
	dst = appendJSONBool(dst, `,"x":`, r.X)
	dst = appendJSONBool(dst, `,"u":`, r.U)
	return append(dst, '}')
}

// appendJSONInvalid appends why no kernel writes the entry, if that is so.
func appendJSONInvalid(dst []byte, why string) []byte {
	if why == "" {
		return dst
	}
	return appendJSONString(append(dst, `,"invalid":`...), why)
}

func appendJSONSwap(dst []byte, l *Leaf) []byte {
	s := &l.Swap
	dst = append(dst, `,"swap":{"type":`...)
	dst = strconv.AppendUint(dst, uint64(s.Type), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendUint(dst, swapOffset(l), 10)
	dst = appendJSONBool(dst, `,"uffd_wp":`, s.UffdWP)
	dst = appendJSONBool(dst, `,"soft_dirty":`, s.SoftDirty)
	dst = appendJSONBool(dst, `,"exclusive":`, s.Exclusive)
	dst = append(dst, '}')
	switch l.Kind {
	case KindMigration:
		dst = append(dst, `,"migration":{"access":"`...)
		dst = append(dst, s.Access.String()...)
		dst = appendJSONBool(dst, `","young":`, s.Young)
		dst = appendJSONBool(dst, `,"dirty":`, s.Dirty)
		dst = append(dst, '}')
	case KindMarker:
		dst = append(dst, `,"marker":[`...)
		for _, m := range markerNames {
			if s.Marker&m.bit != 0 {
				dst = append(dst, '"')
				dst = append(dst, m.name...)
				dst = append(dst, `",`...)
			}
		}
		dst = closeList(dst)
	case KindDevicePrivate, KindDeviceExclusive:
		dst = appendJSONBool(dst, `,"device":{"write":`, s.Write)
		dst = append(dst, '}')
	}
	return dst
}

// markerNames are the marker bits in order, with their names in the output.
var markerNames = func() (names []struct {
	bit  swapentry.Marker
	name string
}) {
	for _, m := range []swapentry.Marker{swapentry.MarkerUffdWP, swapentry.MarkerPoisoned, swapentry.MarkerGuard} {
		names = append(names, struct {
			bit  swapentry.Marker
			name string
		}{m, m.String()})
	}
	return names
}()

func (j *jsonLeaves) problem(dst []byte, p *Problem) []byte {
	return j.end(appendJSONProblem(j.begin(dst), p))
}

// appendJSONProblem appends the object that stands in the output where a part of the address space could not be
// explained. Its kind is "problem", and "problem" says which.
func appendJSONProblem(dst []byte, p *Problem) []byte {
	dst = append(dst, `{"va":"0x`...)
	dst = appendHex16(dst, uint64(p.VA))
	dst = append(dst, `","level":"`...)
	dst = append(dst, p.Level.String()...)
	dst = append(dst, `","size":`...)
	dst = strconv.AppendUint(dst, p.Size, 10)
	dst = append(dst, `,"raw":"`...)
	dst = appendHex16(dst, p.Raw)
	dst = append(dst, `","kind":"problem","problem":`...)
	dst = appendJSONString(dst, problemText(p))
	dst = append(dst, `,"reason":`...)
	dst = appendJSONString(dst, problemReason(p))
	dst = append(dst, `,"entry_pa":"0x`...)
	dst = strconv.AppendUint(dst, uint64(p.Entry), 16)
	return append(dst, `"}`...)
}
