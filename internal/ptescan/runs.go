package ptescan

import "ptemu/arch/x86"

// Breaks sets the bits of breaks where an entry of t does not continue the run of the entry before it; before the
// first one comes prev. It returns whether there is any.
func Breaks(p *x86.PTERuns, t *Table, prev uint64, breaks *Bitmap) bool {
	annotateRead(t, 0, len(t)-1)
	switch level {
	case AVX512:
		return breaksAVX512(t, prev, p, breaks) != 0
	case AVX2:
		return breaksAVX2(t, prev, p, breaks) != 0
	default:
		return breaksGeneric(t, prev, p, breaks)
	}
}

func breaksGeneric(t *Table, prev uint64, p *x86.PTERuns, breaks *Bitmap) bool {
	*breaks = Bitmap{}
	for i, e := range t {
		if breaksRun(p, prev, e) {
			breaks.Set(i)
		}
		prev = e
	}
	return !breaks.Empty()
}

// breaksRun is the meaning of x86.PTERuns.
func breaksRun(p *x86.PTERuns, prev, e uint64) bool {
	if (prev^e)&p.Attributes != 0 {
		return true
	}
	if e&p.Follow == 0 {
		return false
	}
	want := prev&p.Frame + p.Step
	if e&p.Valid == 0 {
		want = prev&p.Frame - p.Step
	}
	return (want^e)&p.Frame != 0
}
