package ptdump

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// whoTarget is something that the command line asks for: frames, or slots of a swap device. Both ends are included.
type whoTarget struct {
	arg         string // as given
	swap        bool
	device      uint8 // if swap
	first, last uint64
}

// maxPhysBits is the width of physical addresses: no processor has more.
const (
	maxPhysBits = 52
	maxPhys     = 1 << maxPhysBits
)

// parseFrames parses an address (of the frame that holds it), "A-B" and "A+SIZE" of addresses, B excluded, or the same
// with numbers of frames behind "pfn:".
func parseFrames(arg string) (whoTarget, error) {
	t := whoTarget{arg: arg}
	shift := uint(x86.PageShift)
	number := func(s string) (uint64, error) { return parseHex("physical address", s) }
	rest, isPFN := strings.CutPrefix(arg, "pfn:")
	if isPFN {
		shift, number = 0, parseFrame
	}
	at := strings.IndexAny(rest, "-+")
	if at < 0 {
		v, err := number(rest)
		t.first, t.last = v>>shift, v>>shift
		return t, cmp.Or(err, t.check())
	}
	first, err := number(rest[:at])
	if err != nil {
		return t, err
	}
	end := uint64(0)
	if rest[at] == '-' {
		end, err = number(rest[at+1:])
	} else if end, err = parseSize(rest[at+1:]); err == nil {
		end += first
	}
	switch {
	case err != nil:
		return t, err
	case end <= first:
		return t, usagef("%q: ends where it starts, or before", arg)
	}
	t.first, t.last = first>>shift, (end-1)>>shift
	return t, t.check()
}

// parseFrame parses the number of a frame, decimal, or hex with 0x.
func parseFrame(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, usagef("frame %q: want a number, or 0x and a hex number", s)
	}
	return v, nil
}

func (t *whoTarget) check() error {
	if t.last >= maxPhys/x86.PageSize {
		return usagef("%q: no physical address is beyond 52 bits", t.arg)
	}
	return nil
}

// parseSlot parses "TYPE:OFFSET" and "TYPE:A-B", B excluded.
func parseSlot(arg string) (whoTarget, error) {
	t := whoTarget{arg: arg, swap: true}
	device, slots, ok := strings.Cut(arg, ":")
	n, err := strconv.ParseUint(device, 0, 5)
	if !ok || err != nil {
		return t, usagef("--swap %q: want TYPE:OFFSET, as 0:0x1234, TYPE below 32", arg)
	}
	t.device = uint8(n)
	first, end, isRange := strings.Cut(slots, "-")
	if t.first, err = strconv.ParseUint(first, 0, 64); err != nil {
		return t, usagef("--swap %q: want TYPE:OFFSET, as 0:0x1234", arg)
	}
	t.last = t.first
	if !isRange {
		return t, nil
	}
	if t.last, err = strconv.ParseUint(end, 0, 64); err != nil || t.last <= t.first {
		return t, usagef("--swap %q: want TYPE:A-B, B larger than A", arg)
	}
	t.last--
	return t, nil
}

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

// whoWanted is everything that is asked for at once.
type whoWanted struct {
	frames intervals
	slots  map[uint8]intervals // by device
	// low and span are the addresses from the first to the last frame asked for, to pass over most entries quickly.
	low, span uint64
}

func wantedOf(targets []whoTarget) *whoWanted {
	w := &whoWanted{slots: map[uint8]intervals{}}
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

// hit is a place in an address space that names what is asked for: neighbouring entries of one table that continue one
// another; or a table that lies in a frame asked for.
type hit struct {
	va     x86.Virt
	level  x86.Level
	pages  uint64 // of 4 KiB, or slots
	number uint64 // of the first frame, or slot
	raw    uint64 // the first entry; of a table, the entry that leads to it
	entry  x86.Phys
	kind   Kind // kindTable for a table
	rights Rights
	device uint8 // of a slot, else noDevice
	// offset is how many pages the number lies behind what the entry names: within a large page.
	offset uint64
}

// kindTable is the kind of a hit that is a page table itself. No entry is of that kind.
const kindTable Kind = "table"

// noDevice is the device of hits that are no swap slots.
const noDevice = 0xff

// of reports whether the hit belongs to a target, and returns the part of it that does.
func (h *hit) of(t *whoTarget) (hit, bool) {
	if t.swap != (h.device != noDevice) || t.swap && t.device != h.device {
		return hit{}, false
	}
	last := h.number + h.pages - 1
	if last < t.first || h.number > t.last {
		return hit{}, false
	}
	part := *h
	if h.kind == kindTable {
		return part, true
	}
	if skip := max(t.first, h.number) - h.number; skip > 0 {
		part.number += skip
		part.va += x86.Virt(skip * x86.PageSize)
		per := h.level.Size() / x86.PageSize
		part.entry += x86.Phys(8 * ((h.offset + skip) / per))
		part.offset = (h.offset + skip) % per
	}
	part.pages = min(last, t.last) - part.number + 1
	return part, true
}
