package ptescan

import "ptemu/arch/x86"

// Sorted says what the entries of a table are; those in neither bitmap are empty.
type Sorted struct {
	Pages  Bitmap
	Others Bitmap
}

// Sort tells pages, empty entries and others of a table apart.
func Sort(k *x86.PTEKinds, t *Table, r *Sorted) {
	annotateRead(t, 0, len(t)-1)
	switch level {
	case AVX512:
		sortAVX512(t, k, r)
	case AVX2:
		sortAVX2(t, k, r)
	default:
		sortGeneric(t, k, r)
	}
}

func sortGeneric(t *Table, k *x86.PTEKinds, r *Sorted) {
	*r = Sorted{}
	for i, e := range t {
		switch {
		case e&k.Exists != 0:
			r.Pages.Set(i)
		case e&k.Filled != 0:
			r.Others.Set(i)
		}
	}
}
