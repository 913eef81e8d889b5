package who

import (
	"cmp"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/usage"
)

// Target is something that the command line asks for: frames, or slots of a swap device. Both ends are included.
type Target struct {
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

// ParseFrames parses an address (of the frame that holds it), "A-B" and "A+SIZE" of addresses, B excluded, or the same
// with numbers of frames behind "pfn:".
func ParseFrames(arg string) (Target, error) {
	t := Target{arg: arg}
	shift := uint(x86.PageShift)
	number := func(s string) (uint64, error) { return usage.Hex("physical address", s) }
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
	} else if end, err = usage.Size(rest[at+1:]); err == nil {
		end += first
	}
	switch {
	case err != nil:
		return t, err
	case end <= first:
		return t, usage.Errorf("%q: ends where it starts, or before", arg)
	}
	t.first, t.last = first>>shift, (end-1)>>shift
	return t, t.check()
}

// parseFrame parses the number of a frame, decimal, or hex with 0x.
func parseFrame(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return 0, usage.Errorf("frame %q: want a number, or 0x and a hex number", s)
	}
	return v, nil
}

func (t *Target) check() error {
	if t.last >= maxPhys/x86.PageSize {
		return usage.Errorf("%q: no physical address is beyond 52 bits", t.arg)
	}
	return nil
}

// ParseSlot parses "TYPE:OFFSET" and "TYPE:A-B", B excluded.
func ParseSlot(arg string) (Target, error) {
	t := Target{arg: arg, swap: true}
	device, slots, ok := strings.Cut(arg, ":")
	n, err := strconv.ParseUint(device, 0, 5)
	if !ok || err != nil {
		return t, usage.Errorf("--swap %q: want TYPE:OFFSET, as 0:0x1234, TYPE below 32", arg)
	}
	t.device = uint8(n)
	first, end, isRange := strings.Cut(slots, "-")
	if t.first, err = strconv.ParseUint(first, 0, 64); err != nil {
		return t, usage.Errorf("--swap %q: want TYPE:OFFSET, as 0:0x1234", arg)
	}
	t.last = t.first
	if !isRange {
		return t, nil
	}
	if t.last, err = strconv.ParseUint(end, 0, 64); err != nil || t.last <= t.first {
		return t, usage.Errorf("--swap %q: want TYPE:A-B, B larger than A", arg)
	}
	t.last--
	return t, nil
}
