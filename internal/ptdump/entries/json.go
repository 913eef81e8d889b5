package entries

import (
	"strconv"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// jsonFormat writes one object per entry, each on its own line: alone (jsonl), or as the elements of one array
// (json).
type jsonFormat struct {
	flags *Flags
	report.JSONList
}

func newJSON(abi *x86.ABI, array bool) *jsonFormat {
	return &jsonFormat{
		flags:    NewFlags(abi, func(name string) string { return `"` + name + `",` }),
		JSONList: report.JSONList{Array: array},
	}
}

func (j *jsonFormat) leaf(dst []byte, l *tree.Leaf) []byte {
	dst = j.Begin(dst)
	dst = append(dst, `{"va":"0x`...)
	dst = report.AppendHex16(dst, uint64(l.VA))
	dst = append(dst, `","level":"`...)
	dst = append(dst, l.Level.String()...)
	dst = append(dst, `","size":`...)
	dst = strconv.AppendUint(dst, l.Level.Size(), 10)
	dst = append(dst, `,"raw":"`...)
	dst = report.AppendHex16(dst, l.Raw)
	dst = append(dst, `","kind":"`...)
	dst = append(dst, l.Kind...)
	dst = append(dst, '"')
	if l.HasPFN {
		dst = append(dst, `,"pfn":`...)
		dst = strconv.AppendUint(dst, uint64(l.PFN), 10)
	}
	dst = append(dst, `,"bits":[`...)
	dst = report.CloseJSONList(j.flags.Append(dst, l, 0))
	dst = AppendJSONRights(dst, l.Rights)
	if l.HasPkey() {
		dst = append(dst, `,"pkey":`...)
		dst = strconv.AppendInt(dst, int64(l.Pkey()), 10)
	}
	if r := l.ReservedBits(j.flags.ABI); r != 0 {
		dst = append(dst, `,"reserved":"`...)
		dst = report.AppendHex16(dst, r)
		dst = append(dst, '"')
	}
	dst = AppendJSONInvalid(dst, j.flags.Invalid(l))
	if l.HasSwap() {
		dst = AppendJSONSwap(dst, l)
	}
	dst = append(dst, `,"entry_pa":"0x`...)
	dst = strconv.AppendUint(dst, uint64(l.Place()), 16)
	dst = append(dst, `"}`...)
	return j.End(dst)
}

// AppendJSONRights appends the field "rights", with a comma before it.
func AppendJSONRights(dst []byte, r tree.Rights) []byte {
	dst = report.AppendJSONBool(dst, `,"rights":{"r":`, r.R)
	dst = report.AppendJSONBool(dst, `,"w":`, r.W)
	dst = report.AppendJSONBool(dst, `,"x":`, r.X)
	dst = report.AppendJSONBool(dst, `,"u":`, r.U)
	return append(dst, '}')
}

// AppendJSONInvalid appends why no kernel writes the entry, if that is so.
func AppendJSONInvalid(dst []byte, why string) []byte {
	if why == "" {
		return dst
	}
	return report.AppendJSONString(append(dst, `,"invalid":`...), why)
}

// AppendJSONSwap appends the fields of a swap form, with a comma before them.
func AppendJSONSwap(dst []byte, l *tree.Leaf) []byte {
	s := &l.Swap
	dst = append(dst, `,"swap":{"type":`...)
	dst = strconv.AppendUint(dst, uint64(s.Type), 10)
	dst = append(dst, `,"offset":`...)
	dst = strconv.AppendUint(dst, l.SwapOffset(), 10)
	dst = report.AppendJSONBool(dst, `,"uffd_wp":`, s.UffdWP)
	dst = report.AppendJSONBool(dst, `,"soft_dirty":`, s.SoftDirty)
	dst = report.AppendJSONBool(dst, `,"exclusive":`, s.Exclusive)
	dst = append(dst, '}')
	switch l.Kind {
	case tree.KindMigration:
		dst = append(dst, `,"migration":{"access":"`...)
		dst = append(dst, s.Access.String()...)
		dst = report.AppendJSONBool(dst, `","young":`, s.Young)
		dst = report.AppendJSONBool(dst, `,"dirty":`, s.Dirty)
		dst = append(dst, '}')
	case tree.KindMarker:
		dst = append(dst, `,"marker":[`...)
		for _, m := range markerNames {
			if s.Marker&m.bit != 0 {
				dst = append(dst, '"')
				dst = append(dst, m.name...)
				dst = append(dst, `",`...)
			}
		}
		dst = report.CloseJSONList(dst)
	case tree.KindDevicePrivate, tree.KindDeviceExclusive:
		dst = report.AppendJSONBool(dst, `,"device":{"write":`, s.Write)
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

func (j *jsonFormat) problem(dst []byte, p *pgtable.Problem) []byte {
	return j.End(AppendJSONProblem(j.Begin(dst), p))
}

// AppendJSONProblem appends the object that stands in the output where a part of the address space could not be
// explained. Its kind is "problem", and "problem" says which.
func AppendJSONProblem(dst []byte, p *pgtable.Problem) []byte {
	dst = append(dst, `{"va":"0x`...)
	dst = report.AppendHex16(dst, uint64(p.VA))
	dst = append(dst, `","level":"`...)
	dst = append(dst, p.Level.String()...)
	dst = append(dst, `","size":`...)
	dst = strconv.AppendUint(dst, p.Size, 10)
	dst = append(dst, `,"raw":"`...)
	dst = report.AppendHex16(dst, p.Raw)
	dst = append(dst, `","kind":"problem","problem":`...)
	dst = report.AppendJSONString(dst, tree.ProblemText(p))
	dst = append(dst, `,"reason":`...)
	dst = report.AppendJSONString(dst, tree.ProblemReason(p))
	dst = append(dst, `,"entry_pa":"0x`...)
	dst = strconv.AppendUint(dst, uint64(p.Entry), 16)
	return append(dst, `"}`...)
}
