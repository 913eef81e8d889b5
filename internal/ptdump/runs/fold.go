package runs

import (
	"strconv"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
)

// fold holds back ranges that repeat one before them at equal distances, in all but the address, to write them as one
// line. The espfix area is made of 65536 such ranges for every CPU.
type fold struct {
	base   Run // the last one written; Count is 0 if there is none
	stride x86.Virt
	n      uint64 // held back
	last   x86.Virt
	held   [foldMin - 1]Run
}

// foldMin is how many repetitions are worth a fold.
const foldMin = 4

// hold reports whether r repeats what came before, and holds it back if so. Else what was held back has to be written,
// then r.
func (f *fold) hold(r *Run) bool {
	same := *r
	same.First.VA, same.First.Table, same.First.Index = f.base.First.VA, f.base.First.Table, f.base.First.Index
	if f.base.Count == 0 || same != f.base {
		return false
	}
	switch distance := r.First.VA - f.last; {
	case f.n == 0:
		f.stride = distance
	case distance != f.stride:
		return false
	}
	if f.n < uint64(len(f.held)) {
		f.held[f.n] = *r
	}
	f.n++
	f.last = r.First.VA
	return true
}

// next makes r, which has been written, the one to compare with.
func (f *fold) next(r *Run) { f.base, f.last, f.n = *r, r.First.VA, 0 }

// release writes what was held back: each with write if they are few, else one line for all.
func (f *fold) release(dst []byte, write func([]byte, *Run) []byte) []byte {
	n := f.n
	f.n = 0
	if n < foldMin {
		for i := range n {
			dst = write(dst, &f.held[i])
		}
		return dst
	}
	dst = append(dst, "  ... and "...)
	dst = strconv.AppendUint(dst, n, 10)
	dst = append(dst, " more like it, every "...)
	dst = report.AppendSize(dst, uint64(f.stride))
	dst = append(dst, ", the last at 0x"...)
	dst = report.AppendHex16(dst, uint64(f.last))
	return append(dst, '\n')
}
