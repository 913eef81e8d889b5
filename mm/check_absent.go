package mm

import (
	"ptemu/arch/x86"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// absent checks an entry that maps no page.
func (c *checker) absent(l *leaf) {
	m := c.m
	d := m.layout.Decode(l.level, l.raw)
	legal := l.raw
	if d.Kind == swapentry.KindMarker && m.Policy.UffdWPAsync {
		// PAGEMAP_SCAN write-protects whatever is not none, guards and poison too.
		legal = uint64(swapentry.SwpClearUffdWP(x86.PTE(legal)))
	}
	if err := m.layout.Check(l.level, legal); err != nil {
		c.at(l.va, l.raw, "%v", err)
		return
	}
	if d.Kind.HasPFN() {
		if use, ok := m.ram.UseOf(d.PFN); !ok || use != physmem.UsePage || uint64(d.PFN) >= uint64(len(m.pages)) {
			c.at(l.va, l.raw, "%v entry for frame %#x, which is not allocated as a page", d.Kind, uint64(d.PFN))
			return
		}
	}
	switch d.Kind {
	case swapentry.KindNone:
	case swapentry.KindMarker:
		c.marker(l, d.Marker)
	case swapentry.KindSwap:
		c.swapEntry(l, d)
	case swapentry.KindMigration:
		if c.quiet {
			c.at(l.va, l.raw, "a migration entry, and nothing migrates")
		}
	case swapentry.KindHWPoison:
		if m.pages[d.PFN].flags&pgPoison == 0 {
			c.at(l.va, l.raw, "hwpoison entry for frame %#x, which has not failed", uint64(d.PFN))
		}
	case swapentry.KindDevicePrivate, swapentry.KindDeviceExclusive:
		c.deviceEntry(l, d)
	}
}

// marker checks a marker: which may be in the area?
func (c *checker) marker(l *leaf, bits swapentry.Marker) {
	p, v := &c.m.Policy, l.v
	say := func(bad bool, what string) {
		if bad {
			c.at(l.va, l.raw, "%s", what)
		}
	}
	if bits&swapentry.MarkerUffdWP != 0 {
		// Registered anew for other accesses only, an area keeps its markers.
		say(v.uffd == nil, "a uffd-wp marker in an area that is not registered with userfaultfd")
		say(v.Anonymous() && !p.UffdWPUnpopulated, "a uffd-wp marker in an anonymous area, which this kernel never leaves")
		say(v.Anonymous() && v.uffd != nil && !v.uffd.wpUnpopulated(), "a uffd-wp marker in an anonymous area whose userfaultfd did not ask for them")
	}
	if bits&swapentry.MarkerGuard != 0 {
		say(!p.GuardMarkers, "a guard marker, which this kernel does not have")
		say(v.flags&VMMaybeGuard == 0, "a guard marker in an area without VM_MAYBE_GUARD")
	}
}

// deviceEntry counts an entry for a page that a device has.
func (c *checker) deviceEntry(l *leaf, d swapentry.Entry) {
	t := &c.pages[d.PFN]
	t.place = place{c.s.id, l.va}
	if d.Kind == swapentry.KindDevicePrivate || c.m.Policy.DeviceKeepsMapping {
		t.ptes++
	} else {
		t.kept++
	}
	if d.Write && !l.v.shared() && c.m.folio(d.PFN).flags&pgAnon != 0 && !c.m.exclusive(d.PFN) {
		c.at(l.va, l.raw, "a writable device entry for page %#x, which is not exclusive", uint64(d.PFN))
	}
}

// slotTally is what the tables say about a swap slot.
type slotTally struct {
	entries   int32
	exclusive bool // one of them says so
	place     place
	raw       uint64
}

func (c *checker) swapEntry(l *leaf, d swapentry.Entry) {
	slot := c.m.layout.FromPTE(x86.PTE(l.raw)).Offset()
	if l.level != x86.LevelPTE || d.Type != 0 || slot == 0 || slot >= uint64(len(c.m.swap.slots)) {
		c.at(l.va, l.raw, "there is no swap slot %d of device %d", slot, d.Type)
		return
	}
	t := c.slots[slot]
	if t == nil {
		t = &slotTally{}
		c.slots[slot] = t
	}
	t.entries++
	if d.Exclusive {
		t.exclusive = true
	}
	if d.Exclusive || t.raw == 0 {
		t.place, t.raw = place{c.s.id, l.va}, l.raw
	}
	if l.v.shared() {
		c.at(l.va, l.raw, "a swap entry in a shared area")
	}
}
