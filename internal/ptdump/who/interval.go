package who

import (
	"cmp"
	"slices"
	"sort"

	"ptemu/arch/x86"
)

// interval is a part of the numbers of frames or slots, both ends included.
type interval struct{ first, last uint64 }

// intervals are ascending and disjoint.
type intervals []interval

func (v *intervals) add(first, last uint64) { *v = append(*v, interval{first, last}) }

// normalize makes of any intervals those that cover the same, ascending and disjoint.
func (v *intervals) normalize() {
	slices.SortFunc(*v, func(a, b interval) int { return cmp.Compare(a.first, b.first) })
	out := (*v)[:0]
	for _, i := range *v {
		if n := len(out); n > 0 && i.first <= out[n-1].last {
			out[n-1].last = max(out[n-1].last, i.last)
			continue
		}
		out = append(out, i)
	}
	*v = out
}

// overlapping returns those that have a number in common with first to last.
func (v intervals) overlapping(first, last uint64) intervals {
	if len(v) == 0 || last < v[0].first || first > v[len(v)-1].last {
		return nil
	}
	i := sort.Search(len(v), func(i int) bool { return v[i].last >= first })
	j := sort.Search(len(v), func(j int) bool { return v[j].first > last })
	if i >= j {
		return nil
	}
	return v[i:j]
}

// wanted is everything that is asked for at once.
type wanted struct {
	frames intervals
	slots  map[uint8]intervals // by device
	// low and span are the addresses from the first to the last frame asked for, to pass over most entries quickly.
	low, span uint64
}

func wantedOf(targets []Target) *wanted {
	w := &wanted{slots: map[uint8]intervals{}}
	for _, t := range targets {
		if t.swap {
			w.slots[t.device] = append(w.slots[t.device], interval{t.first, t.last})
			continue
		}
		w.frames.add(t.first, t.last)
	}
	w.frames.normalize()
	for d, v := range w.slots {
		v.normalize()
		w.slots[d] = v
	}
	if n := len(w.frames); n > 0 {
		w.low = uint64(x86.PFN(w.frames[0].first).Phys())
		w.span = uint64(x86.PFN(w.frames[n-1].last).Phys()) - w.low
	}
	return w
}
