package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// checkSum counts what the check compared.
type checkSum struct {
	regions, words, mapped, noRights, notPresent, unwalked, notes int
}

func (s checkSum) String() string {
	return fmt.Sprintf("%d regions, %d pagemap words agree with QEMU (%d mapped, %d present without rights, %d not present, %d of frames without page structure), %d notes",
		s.regions, s.words, s.mapped, s.noRights, s.notPresent, s.unwalked, s.notes)
}

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
	var sum checkSum
	frames, err := parseTLB(tlb)
	if err != nil {
		return sum, err
	}
	mappings := parseSmaps(guestLog)
	lines := bufio.NewScanner(bytes.NewReader(guestLog))
	lines.Buffer(nil, 1<<20)
	region := ""
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		var va, word uint64
		switch kind, rest, _ := strings.Cut(line, " "); kind {
		case "REGION":
			region = rest
			sum.regions++
			continue
		case "NOTE":
			sum.notes++
			continue
		case "PM":
			if _, err := fmt.Sscanf(rest, "%x %x", &va, &word); err != nil {
				return sum, fmt.Errorf("line %q: %w", line, err)
			}
		default:
			continue
		}
		sum.words++
		frame, mapped := frames.lookup(va)
		present := word&pagemapPresent != 0
		switch {
		case mapped && !present && mappings.at(va).bareFrames:
			sum.unwalked++
		case mapped && !present:
			return sum, fmt.Errorf("%s: %#x: mapped to frame %#x, pagemap %#x", region, va, frame, word)
		case mapped && frame != word&pagemapFrameMask:
			return sum, fmt.Errorf("%s: %#x: frame %#x, pagemap %#x", region, va, frame, word)
		case mapped:
			sum.mapped++
		case present && !mappings.at(va).noRights:
			return sum, fmt.Errorf("%s: %#x: not mapped, pagemap %#x", region, va, word)
		case present:
			sum.noRights++
		default:
			sum.notPresent++
		}
	}
	if sum.words == 0 {
		return sum, errors.New("no pagemap words in the guest's log")
	}
	return sum, lines.Err()
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

// mapping is what smaps says of one range of addresses.
type mapping struct {
	memoryRange
	noRights   bool // shown as ---
	bareFrames bool // VM_PFNMAP
}

type mappings []mapping

func parseSmaps(guestLog []byte) mappings {
	var all mappings
	for line := range strings.Lines(string(guestLog)) {
		var first, end uint64
		var rights string
		if n, _ := fmt.Sscanf(line, "S %x-%x %s", &first, &end, &rights); n == 3 {
			all = append(all, mapping{memoryRange: memoryRange{first, end - 1}, noRights: strings.HasPrefix(rights, "---")})
		} else if strings.HasPrefix(line, "S VmFlags:") && len(all) > 0 {
			all[len(all)-1].bareFrames = strings.Contains(line, " pf ")
		}
	}
	return all
}

// at returns the mapping of an address, or none's zero value.
func (all mappings) at(va uint64) mapping {
	for _, m := range all {
		if va >= m.first && va <= m.last {
			return m
		}
	}
	return mapping{}
}
