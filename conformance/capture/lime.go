package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// memoryRange is a range of physical addresses; last is its last byte.
type memoryRange struct{ first, last uint64 }

// ramPattern matches the guest's /proc/iomem lines of outermost ranges.
var ramPattern = regexp.MustCompile(`(?m)^I ([0-9a-f]+)-([0-9a-f]+) : System RAM\r?$`)

// systemRAM lists what the kernel in the guest calls its memory.
func systemRAM(guestLog []byte) []memoryRange {
	var ranges []memoryRange
	for _, match := range ramPattern.FindAllSubmatch(guestLog, -1) {
		first, errFirst := strconv.ParseUint(string(match[1]), 16, 64)
		last, errLast := strconv.ParseUint(string(match[2]), 16, 64)
		if errFirst == nil && errLast == nil {
			ranges = append(ranges, memoryRange{first, last})
		}
	}
	return ranges
}

// writeLiME writes ranges of memory as the LiME module does: before each range a
// header of magic, version, first and last address, and eight reserved bytes. The
// memory lies below the hole for devices, so addresses are offsets.
func writeLiME(out io.Writer, memory io.ReaderAt, ranges []memoryRange) error {
	const magic, version = 0x4c694d45, 1
	if len(ranges) == 0 {
		return fmt.Errorf("LiME: the guest listed no System RAM")
	}
	for _, r := range ranges {
		header := struct {
			Magic, Version uint32
			First, Last    uint64
			Reserved       uint64
		}{magic, version, r.first, r.last, 0}
		if err := binary.Write(out, binary.LittleEndian, header); err != nil {
			return err
		}
		size := int64(r.last - r.first + 1)
		if _, err := io.CopyN(out, io.NewSectionReader(memory, int64(r.first), size), size); err != nil {
			return fmt.Errorf("LiME: range %#x-%#x: %w", r.first, r.last, err)
		}
	}
	return nil
}
