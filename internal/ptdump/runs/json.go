package runs

import (
	"strconv"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/pgtable"
)

// jsonFormat writes one object per range, on a line of its own (jsonl), or as one array (json).
type jsonFormat struct {
	report.JSONList
	flags sharedFlags
}

func newJSON(abi *x86.ABI, array bool) *jsonFormat {
	flags := sharedFlags{entries.NewFlags(abi, func(name string) string { return `"` + name + `",` })}
	return &jsonFormat{JSONList: report.JSONList{Array: array}, flags: flags}
}

func (j *jsonFormat) problem(dst []byte, p *pgtable.Problem) []byte {
	return j.End(entries.AppendJSONProblem(j.Begin(dst), p))
}

func (j *jsonFormat) region(dst []byte, _ string) []byte { return dst }

func (j *jsonFormat) run(dst []byte, r *Run, region string) []byte {
	l := &r.First
	dst = j.Begin(dst)
	dst = append(dst, `{"va":"0x`...)
	dst = report.AppendHex16(dst, uint64(l.VA))
	dst = append(dst, `","size":`...)
	dst = strconv.AppendUint(dst, r.Size(), 10)
	dst = append(dst, `,"level":"`...)
	dst = append(dst, l.Level.String()...)
	dst = append(dst, `","count":`...)
	dst = strconv.AppendUint(dst, r.Count, 10)
	dst = append(dst, `,"region":`...)
	dst = report.AppendJSONString(dst, region)
	dst = append(dst, `,"kind":"`...)
	dst = append(dst, l.Kind...)
	dst = append(dst, '"')
	dst = entries.AppendJSONRights(dst, l.Rights)
	dst = append(dst, `,"bits":[`...)
	dst = report.CloseJSONList(j.flags.append(dst, r))
	if l.HasPFN {
		dst = append(dst, `,"pfn":`...)
		dst = strconv.AppendUint(dst, uint64(l.PFN), 10)
	}
	if _, _, ok := r.Places(); ok {
		dst = report.AppendJSONBool(dst, `,"scattered":`, r.Scattered)
		if r.Repeated() {
			dst = append(dst, `,"repeated":true`...)
		}
	}
	dst = append(dst, `,"accessed":`...)
	dst = strconv.AppendUint(dst, r.Accessed, 10)
	dst = append(dst, `,"dirty":`...)
	dst = strconv.AppendUint(dst, r.Dirty, 10)
	if l.HasPkey() {
		dst = append(dst, `,"pkey":`...)
		dst = strconv.AppendInt(dst, int64(l.Pkey()), 10)
	}
	if bits := l.ReservedBits(j.flags.ABI); bits != 0 {
		dst = append(dst, `,"reserved":"`...)
		dst = report.AppendHex16(dst, bits)
		dst = append(dst, '"')
	}
	dst = entries.AppendJSONInvalid(dst, j.flags.Invalid(l))
	if l.HasSwap() {
		dst = entries.AppendJSONSwap(dst, r.shared())
	}
	return j.End(append(dst, '}'))
}
