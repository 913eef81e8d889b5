package who

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
)

// hit is a place in an address space that names what is asked for: neighbouring entries of one table that continue one
// another; or a table that lies in a frame asked for.
type hit struct {
	va     x86.Virt
	level  x86.Level
	pages  uint64 // of 4 KiB, or slots
	number uint64 // of the first frame, or slot
	raw    uint64 // the first entry; of a table, the entry that leads to it
	entry  x86.Phys
	kind   tree.Kind // kindTable for a table
	rights tree.Rights
	device uint8 // of a slot, else noDevice
	// offset is how many pages the number lies behind what the entry names: within a large page.
	offset uint64
}

// notPresent reports an entry that maps nothing though it names the frame.
func (h *hit) notPresent() bool {
	switch h.kind {
	case tree.KindPresent:
		return false
	case tree.KindProtnone:
		return h.inKernelHalf()
	}
	return h.kind != kindTable
}

func (h *hit) inKernelHalf() bool { return h.va>>63 != 0 }

// kindTable is the kind of a hit that is a page table itself. No entry is of that kind.
const kindTable tree.Kind = "table"

// noDevice is the device of hits that are no swap slots.
const noDevice = 0xff

// of reports whether the hit belongs to a target, and returns the part of it that does.
func (h *hit) of(t *Target) (hit, bool) {
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
