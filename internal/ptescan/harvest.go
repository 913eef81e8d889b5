package ptescan

import "ptemu/arch/x86"

// Harvested says what a harvest of one table came to.
type Harvested struct {
	Found Bitmap // pages that had a bit of PTEHarvest.Report
	// Changed has the pages that lost a bit.
	Changed Bitmap
}

// Harvest takes bits away from the pages first to last of t.
func Harvest(h *x86.PTEHarvest, t *Table, first, last int, r *Harvested) {
	_, _ = t[first], t[last]
	if first > last {
		*r = Harvested{}
		return
	}
	annotateWrite(t, first, last)
	switch level {
	case AVX512:
		harvestAVX512(t, uint64(first), uint64(last), h, r)
	case AVX2:
		harvestAVX2(t, uint64(first), uint64(last), h, r)
	default:
		harvestGeneric(t, first, last, h, r)
	}
}

func harvestGeneric(t *Table, first, last int, h *x86.PTEHarvest, r *Harvested) {
	*r = Harvested{}
	for i := first; i <= last; i++ {
		old := t[i]
		if old&h.Exists == 0 {
			continue
		}
		if old&h.Report != 0 {
			r.Found.Set(i)
		}
		if old&h.Clear != 0 {
			t[i] = old &^ h.Clear
			r.Changed.Set(i)
		}
	}
}
