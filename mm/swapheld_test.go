package mm

import (
	"bytes"
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// TestPinnedIsNotSwapped: a pinned page stays; one that the swap cache has already comes to the entry, and is restored.
func TestPinnedIsNotSwapped(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("dma")))
		for _, cached := range []bool{false, true} {
			if cached {
				must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
				holds(t, c, va, "dma")
			}
			p, err := c.GetPages(va, 1, GUPPin)
			must(t, err)
			before := s.pte(va)
			if ok, err := m.Reclaim(c, p.Frames()[0]); ok || err != nil {
				t.Error("pinned page reclaimed", err)
			}
			if e := s.pte(va); e != before || !m.exclusive(p.Frames()[0]) {
				t.Errorf("cached %v: %#x became %#x", cached, before, e)
			}
			if n := m.SwapUsed(); (n == 1) != cached {
				t.Errorf("%d slots in use", n)
			}
			p.Put()
		}
		drained(t, c, used)
	})
}

// TestLockedIsNotSwapped: areas under mlock are left alone.
func TestLockedIsNotSwapped(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va, err := c.Mmap(MmapArgs{Length: x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapLocked | MapPopulate})
		must(t, err)
		before := s.pte(va)
		if ok, err := m.Reclaim(c, before.PFN(m.abi)); ok || err != nil || s.pte(va) != before {
			t.Errorf("%v %v: %#x became %#x", ok, err, before, s.pte(va))
		}
		if err := c.Madvise(va, x86.PageSize, AdvisePageOut); !errors.Is(err, ErrInval) {
			t.Error(err)
		}
	})
}

// TestSwapHeldPage: a page that somebody holds goes half the way: unmapped, in the swap cache, not written.
func TestSwapHeldPage(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("held")))
		p, err := c.GetPages(va, 1, 0)
		must(t, err)
		pfn := p.Frames()[0]
		must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
		slot := slotOf(t, s, va)
		if i, _ := m.SwapSlot(slot); i.PFN != pfn || i.Entries != 1 {
			t.Errorf("slot %+v", i)
		}
		copy(m.content(pfn)[:], "HELD") // the device writes
		must(t, c.Store(va+4, []byte("!")))
		if s.pte(va).PFN(m.abi) != pfn {
			t.Error("not the page of the swap cache")
		}
		p.Put()
		holds(t, c, va, "HELD!")
		drained(t, c, used)
	})
}

// TestSwapErrors: failed swap-ins.
func TestSwapErrors(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 3)
		must(t, c.Store(va, bytes.Repeat([]byte("abcd"), 3*x86.PageSize/4)))
		must(t, c.Madvise(va, 3*x86.PageSize, AdvisePageOut))
		must(t, m.SetBadSlot(slotOf(t, s, va), true))
		before := s.pte(va)
		var a *AccessError
		if err := c.Store(va, []byte{1}); !errors.As(err, &a) || a.Signal != BusAdrErr || s.pte(va) != before {
			t.Errorf("%v; %#x became %#x", err, before, s.pte(va))
		}
		must(t, m.Swapoff(c))
		d := m.layout.Decode(x86.LevelPTE, uint64(s.pte(va)))
		if want := pick(m, swapentry.KindSwapinError, swapentry.KindMarker); d.Kind != want || d.Kind == swapentry.KindMarker && d.Marker != swapentry.MarkerPoisoned {
			t.Errorf("unreadable page: %#x, %v", s.pte(va), d.Kind)
		}
		if err := c.Load(va, []byte{0}); !errors.As(err, &a) || a.Signal != pick(m, BusAdrErr, BusHWPoison) {
			t.Error(err)
		}
		wantFlags(t, s, va+x86.PageSize, 0x8000000000000805, "swapoff")
		if pfn := s.pte(va + x86.PageSize).PFN(m.abi); !m.exclusive(pfn) || m.folio(pfn).ref != 1 || m.SwapUsed() != 0 {
			t.Errorf("page %+v, %d slots", m.folio(pfn), m.SwapUsed())
		}
		holds(t, c, va+2*x86.PageSize, "abcd")
		must(t, c.Madvise(va, 3*x86.PageSize, AdvisePageOut))
		if m.SwapUsed() != 0 || !s.pte(va+x86.PageSize).Present() {
			t.Error("a page went out without a swap area")
		}
		drained(t, c, used)
	})
}

// TestPoisonedSwapCache: failed swap-ins, the page that failed in the swap cache.
func TestPoisonedSwapCache(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte{1}))
		p, err := c.GetPages(va, 1, 0)
		must(t, err)
		must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
		m.pages[p.Frames()[0]].flags |= pgPoison
		before := s.pte(va)
		var a *AccessError
		if err := c.Load(va, []byte{0}); !errors.As(err, &a) || a.Signal != BusHWPoison || s.pte(va) != before {
			t.Errorf("%v; %#x", err, s.pte(va))
		}
		must(t, m.Swapoff(c))
		d := m.layout.Decode(x86.LevelPTE, uint64(s.pte(va)))
		if d.Kind != pick(m, swapentry.KindSwapinError, swapentry.KindHWPoison) {
			t.Errorf("%v", d.Kind)
		}
		p.Put()
	})
}

// TestSwapDirect: a device as fast as memory: a slot of one user is exclusive whatever the entry says, and free at once.
func TestSwapDirect(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		m.SetSwapDirect(true)
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("fast")))
		must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
		child, err := c.Fork()
		must(t, err)
		child.Exit(m.CPU(1))
		if swapentry.PTESwpExclusive(s.pte(va)) {
			t.Error("exclusive after fork")
		}
		holds(t, c, va, "fast")
		if !m.Policy.SwapInBypasses { // 7.2 reads through the swap cache always
			wantFlags(t, s, va, 0x8000000000000825, "read")
			return
		}
		wantFlags(t, s, va, pick(m, uint64(0x8000000000000825), 0x8000000000000827), "read")
		if pfn := s.pte(va).PFN(m.abi); !m.exclusive(pfn) || m.SwapUsed() != 0 {
			t.Errorf("exclusive %v, %d slots", m.exclusive(pfn), m.SwapUsed())
		}
	})
}
