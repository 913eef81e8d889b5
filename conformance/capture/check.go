package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"ptemu/internal/truth"
)

// checkSum counts what the check compared.
type checkSum struct {
	regions, words, mapped, noRights, notPresent, unwalked, notes int
	// frames are those whose number of mappings was compared.
	frames int
}

func (s checkSum) String() string {
	return fmt.Sprintf("%d regions, %d pagemap words agree with QEMU (%d mapped, %d present without rights, %d not present, %d of frames without page structure), %d frames of all processes, %d notes",
		s.regions, s.words, s.mapped, s.noRights, s.notPresent, s.unwalked, s.frames, s.notes)
}

// errNoWords is right only of a guest that was not asked for words.
var errNoWords = errors.New("no pagemap words in the guest's log")

const (
	pageSize         = 4096
	hugeSize         = 2 << 20
	pagemapPresent   = 1 << 63
	pagemapFrameMask = 1<<55 - 1
)

// check holds the guest's pagemap words against QEMU's walk of the same tables: a page
// is present in both with the same frame, or in neither. Two differences are the
// kernel's way: present pages that QEMU does not see where the mapping grants no right
// at all, and words of zero where the mapping is of bare frames (VM_PFNMAP), which
// pagemap never walks.
func check(guestLog []byte, tlb string) (checkSum, error) {
	sum := checkSum{notes: bytes.Count(guestLog, []byte("\nNOTE "))}
	frames, err := parseTLB(tlb)
	if err != nil {
		return sum, err
	}
	guest, err := truth.ReadGuest(bytes.NewReader(guestLog))
	if err != nil {
		return sum, err
	}
	for _, region := range guest.Regions {
		sum.regions++
		for va := region.Start; va < region.Start+region.Len; va += pageSize {
			word, said := guest.Pagemap[va]
			if !said {
				continue
			}
			if err := sum.word(frames, guest.VMA(va), va, word); err != nil {
				return sum, fmt.Errorf("%s: %#x: %w", region.Name, va, err)
			}
		}
	}
	if sum.words == 0 {
		return sum, errNoWords
	}
	return sum, nil
}

// word holds one word against QEMU's walk and counts it.
func (s *checkSum) word(frames leaves, area *truth.VMA, va, word uint64) error {
	s.words++
	frame, mapped := frames.lookup(va)
	present := word&pagemapPresent != 0
	noRights := area != nil && strings.HasPrefix(area.Perms, "---")
	switch {
	case mapped && !present && area.Has("pf"):
		s.unwalked++
	case mapped && !present:
		return fmt.Errorf("mapped to frame %#x, pagemap %#x", frame, word)
	case mapped && frame != word&pagemapFrameMask:
		return fmt.Errorf("frame %#x, pagemap %#x", frame, word)
	case mapped:
		s.mapped++
	case present && !noRights:
		return fmt.Errorf("not mapped, pagemap %#x", word)
	case present:
		s.noRights++
	default:
		s.notPresent++
	}
	return nil
}

// leaves are the frames of QEMU's lines by virtual address.
type leaves struct{ small, huge map[uint64]uint64 }

func (l leaves) lookup(va uint64) (frame uint64, ok bool) {
	if frame, ok := l.small[va]; ok {
		return frame, true
	}
	base := va &^ (hugeSize - 1)
	frame, ok = l.huge[base]
	return frame + (va-base)/pageSize, ok
}

// parseTLB reads the user half; a P in the flags is a large leaf, which in these
// guests is two mebibytes.
func parseTLB(tlb string) (leaves, error) {
	l := leaves{map[uint64]uint64{}, map[uint64]uint64{}}
	for line := range strings.Lines(tlb) {
		var va, pa uint64
		var flags string
		if _, err := fmt.Sscanf(line, "%x: %x %s", &va, &pa, &flags); err != nil {
			return l, fmt.Errorf("info tlb line %q: %w", line, err)
		}
		if !strings.HasSuffix(flags, "U-") && !strings.HasSuffix(flags, "UW") {
			continue
		}
		if strings.Contains(flags, "P") {
			l.huge[va] = pa / pageSize
		} else {
			l.small[va] = pa / pageSize
		}
	}
	return l, nil
}
