package qemu

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// region is a part of guest-physical memory: whole frames of one RAM block.
type region struct {
	start, end x86.Phys
	block      string
	offset     uint64 // in the block, of start
}

// regionLine is a line of a flat view: range, priority, kind, name, and where in the block it begins.
var regionLine = regexp.MustCompile(`^\s*([0-9a-f]{1,16})-([0-9a-f]{1,16}) \(prio -?\d+, (\w+)\): (.*?)(?: @([0-9a-f]{1,16}))?(?: KVM)?$`)

// maxRegions is more than machines have, with memory plugged in piece by piece.
const maxRegions = 1 << 16

var errNoMemory = errors.New("info mtree shows no RAM")

// parseMtree returns the RAM and ROM of the system's address space, ascending, from what "info mtree -f" prints. Parts of
// frames at the ends of a region are left out.
func parseMtree(text string) ([]region, error) {
	var regions []region
	system, seen := false, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n ")
		switch {
		case strings.HasPrefix(line, "FlatView "):
			if seen {
				return check(regions)
			}
			system = false
		case strings.HasPrefix(strings.TrimSpace(line), `AS "memory",`):
			system, seen = true, true
		case system:
			if r, ok := parseRegion(line); ok && len(regions) < maxRegions {
				regions = append(regions, r)
			}
		}
	}
	return check(regions)
}

func parseRegion(line string) (region, bool) {
	m := regionLine.FindStringSubmatch(line)
	if m == nil || m[3] != "ram" && m[3] != "rom" && m[3] != "romd" {
		return region{}, false
	}
	first, err1 := strconv.ParseUint(m[1], 16, 64)
	last, err2 := strconv.ParseUint(m[2], 16, 64)
	offset := uint64(0)
	var err3 error
	if m[5] != "" {
		offset, err3 = strconv.ParseUint(m[5], 16, 64)
	}
	if err1 != nil || err2 != nil || err3 != nil || last < first || last >= 1<<52 {
		return region{}, false
	}
	start := (first + x86.PageSize - 1) &^ (x86.PageSize - 1)
	end := (last + 1) &^ (x86.PageSize - 1)
	if start >= end {
		return region{}, false
	}
	return region{x86.Phys(start), x86.Phys(end), m[4], offset + (start - first)}, true
}

// check refuses a map that is empty, or not ascending.
func check(regions []region) ([]region, error) {
	if len(regions) == 0 {
		return nil, errNoMemory
	}
	for i := 1; i < len(regions); i++ {
		if regions[i].start < regions[i-1].end {
			return nil, errors.New("info mtree shows regions that overlap")
		}
	}
	return regions, nil
}
