package ptescan

import "ptemu/arch/x86"

// Zapped says what the removal of pages from one table came to.
type Zapped struct {
	Pages  Bitmap // entries removed
	Others Bitmap // entries that are neither page nor empty: left to the caller
}

// Zap removes the pages first to last of t. What they were is in saved afterwards, at the same indexes, for those in
// r.Pages; whatever else lies in the same 32 entries of saved is undefined.
func Zap(z *x86.PTEZap, t *Table, first, last int, saved *Table, r *Zapped) {
	_, _ = t[first], t[last]
	if first > last {
		*r = Zapped{}
		return
	}
	annotateWrite(t, first, last)
	annotateWrite(saved, first&^31, last|31)
	switch level {
	case AVX512:
		zapAVX512(t, saved, uint64(first), uint64(last), z, r)
	case AVX2:
		zapAVX2(t, saved, uint64(first), uint64(last), z, r)
	default:
		zapGeneric(t, saved, first, last, z, r)
	}
}

func zapGeneric(t, saved *Table, first, last int, z *x86.PTEZap, r *Zapped) {
	*r = Zapped{}
	for i := first; i <= last; i++ {
		old := t[i]
		switch {
		case old&z.Exists != 0:
			saved[i], t[i] = old, 0
			if old&z.Protected != 0 {
				t[i] = z.Marker
			}
			r.Pages.Set(i)
		case old&z.Filled != 0:
			r.Others.Set(i)
		}
	}
}
