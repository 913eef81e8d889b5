package mm

import (
	"fmt"
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// fill stores the number of each page in it.
func fill(t testing.TB, c *CPU, va x86.Virt, n int) {
	t.Helper()
	for i := range n {
		must(t, c.Store(va+x86.Virt(i)*x86.PageSize, fmt.Appendf(nil, "page %03d", i)))
	}
}

func filled(t testing.TB, c *CPU, va x86.Virt, n int) {
	t.Helper()
	for i := range n {
		holds(t, c, va+x86.Virt(i)*x86.PageSize, fmt.Sprintf("page %03d", i))
	}
}

// TestLazyFree: MADV_FREE, and the rows of try_to_unmap_one() for what it leaves behind.
func TestLazyFree(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("gone")))
		must(t, c.Madvise(va, x86.PageSize, AdviseFree))
		wantFlags(t, s, va, 0x8000000000000807, "freed lazily")
		pfn := s.pte(va).PFN(m.abi)
		if f := m.folio(pfn); f.flags&(pgSwapBacked|pgDirty) != 0 {
			t.Errorf("flags %#x", f.flags)
		}
		holds(t, c, va, "gone")
		p, err := c.GetPages(va, 1, 0)
		must(t, err)
		if ok, err := m.Reclaim(c, pfn); ok || err != nil || !s.pte(va).Present() {
			t.Errorf("a page that is held: %v %v %#x", ok, err, s.pte(va))
		}
		if again := m.folio(pfn).flags&pgSwapBacked != 0; again != m.Policy.LazyFreeRefsRevive {
			t.Errorf("held: swap-backed again %v", again)
		}
		p.Put()
		must(t, c.Madvise(va, x86.PageSize, AdviseFree))
		if ok, err := m.Reclaim(c, pfn); !ok || err != nil || !s.pte(va).None() || m.SwapUsed() != 0 {
			t.Errorf("%v %v, %#x, %d slots", ok, err, s.pte(va), m.SwapUsed())
		}
		holds(t, c, va, "\x00\x00\x00\x00")
		drained(t, c, used)
	})
}

// TestLazyFreeWritten: a page that is written after MADV_FREE is kept, and goes to swap the next time.
func TestLazyFreeWritten(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 2)
		fill(t, c, va, 2)
		must(t, c.Madvise(va+x86.PageSize, x86.PageSize, AdvisePageOut))
		must(t, c.Madvise(va, 2*x86.PageSize, AdviseFree))
		if e := s.pte(va + x86.PageSize); !e.None() || m.SwapUsed() != 0 {
			t.Errorf("a swapped page: %#x, %d slots", e, m.SwapUsed())
		}
		must(t, c.Store(va, []byte("kept")))
		wantFlags(t, s, va, 0x8000000000000867, "written again")
		pfn := s.pte(va).PFN(m.abi)
		if ok, err := m.Reclaim(c, pfn); ok || err != nil || m.folio(pfn).flags&pgSwapBacked == 0 {
			t.Errorf("%v %v %#x", ok, err, m.folio(pfn).flags)
		}
		wantFlags(t, s, va, 0x8000000000000867, "restored")
		if ok, _ := m.Reclaim(c, pfn); !ok {
			t.Error("the second time, too")
		}
		slotOf(t, s, va)
		holds(t, c, va, "kept")
		drained(t, c, used)
	})
}

// TestCold: MADV_COLD clears A of pages that nobody else maps, and MADV_PAGEOUT takes only those.
func TestCold(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 1)
		fill(t, c, va, 1)
		must(t, c.Madvise(va, x86.PageSize, AdviseCold))
		wantFlags(t, s, va, 0x8000000000000847, "cold")
		filled(t, c, va, 1)
		wantFlags(t, s, va, 0x8000000000000867, "read: the processor was told")
		child, err := c.Fork()
		must(t, err)
		before := s.pte(va)
		must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
		if s.pte(va) != before {
			t.Errorf("a page of two processes: %#x became %#x", before, s.pte(va))
		}
		child.Exit(m.CPU(1))
		drained(t, c, used)
	})
}

// TestLargeFolioSwap: a large folio goes out as a whole, to slots in a row, and comes back as a whole from the swap cache.
func TestLargeFolioSwap(t *testing.T) {
	for _, p := range Profiles()[1:] {
		t.Run(p.Kernel.Release, func(t *testing.T) {
			m, err := New(Config{Profile: p, Orders: 1 << 4})
			must(t, err)
			defer m.Close()
			s, err := m.NewSpace()
			must(t, err)
			c := m.CPU(0)
			must(t, c.Run(s))
			used := m.ram.Used()
			va, err := c.Mmap(MmapArgs{Addr: 0x400000, Length: 16 * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapFixed})
			must(t, err)
			fill(t, c, va, 16)
			head := s.pte(va).PFN(m.abi)
			if m.folioSize(head) != 16 {
				t.Fatal("no large folio")
			}
			held, err := c.GetPages(va, 1, 0)
			must(t, err)
			must(t, c.Madvise(va, 16*x86.PageSize, AdvisePageOut))
			if e := s.pte(va); e.PFN(m.abi) != head || !e.Present() {
				t.Errorf("somebody holds it, so that it cannot be split: %#x", e)
			}
			held.Put()
			out := m.Go(c, func() { must(t, c.Madvise(va, 16*x86.PageSize, AdvisePageOut)) })
			if !out.RunTo(PointUnmapped) {
				t.Fatal("not unmapped")
			}
			m.get(head) // now nobody asks any more
			out.Finish()
			first := slotOf(t, s, va)
			for i := range x86.Virt(16) {
				if got := slotOf(t, s, va+i*x86.PageSize); got != first+uint64(i) {
					t.Errorf("page %d in slot %d", i, got)
				}
			}
			holds(t, c, va+7*x86.PageSize, "page 007")
			for i := range x86.Virt(16) {
				if e := s.pte(va + i*x86.PageSize); !e.Present() || e.PFN(m.abi) != head+x86.PFN(i) || !m.exclusive(head+x86.PFN(i)) {
					t.Errorf("page %d: %#x", i, e)
				}
			}
			if f := m.folio(head); f.ref != 16+16+1 {
				t.Errorf("%d references", f.ref)
			}
			m.put(head)
			must(t, c.Madvise(va+3*x86.PageSize, 2*x86.PageSize, AdvisePageOut)) // splits it, in the swap cache
			must(t, m.Check())
			if got := slotOf(t, s, va+4*x86.PageSize); got != first+4 {
				t.Errorf("page 4 of the split folio in slot %d", got)
			}
			must(t, c.Madvise(va, 16*x86.PageSize, AdvisePageOut))
			filled(t, c, va, 16)
			drained(t, c, used)
		})
	}
}

// TestHugePageOut: a huge page goes out, whole or in part, and all comes back.
func TestHugePageOut(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapHuge(t, c, 1)
		fill(t, c, va, 512)
		if _, huge := s.hugePMD(va); !huge {
			t.Fatal("no huge page")
		}
		must(t, c.Madvise(va, 3*x86.PageSize, AdvisePageOut))
		if n := m.SwapUsed(); n != 3 {
			t.Errorf("%d slots in use after a part", n)
		}
		if e := s.pte(va + 5*x86.PageSize); !e.Present() || m.folioSize(e.PFN(m.abi)) != 1 {
			t.Errorf("the rest: %#x", e)
		}
		filled(t, c, va, 512)
		must(t, c.Munmap(va, hugeSize))
		va = mapHuge(t, c, 1)
		fill(t, c, va, 512)
		must(t, c.Madvise(va, hugeSize, AdvisePageOut))
		if n := m.SwapUsed(); n != 512 {
			t.Errorf("%d slots in use", n)
		}
		for i := range x86.Virt(512) {
			if e := s.pte(va + i*x86.PageSize); !swapentry.SwapPTE(e) || !swapentry.PTESwpExclusive(e) {
				t.Fatalf("page %d: %#x", i, e)
			}
		}
		filled(t, c, va, 512)
		drained(t, c, used)
	})
}

// TestHugeLazyFree: MADV_FREE of a huge page keeps it huge, and reclaim drops it.
func TestHugeLazyFree(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		m.hugeZero() // is read at last, where reclaim took the table, too
		used := m.ram.Used()
		va := mapHuge(t, c, 1)
		fill(t, c, va, 2)
		must(t, c.Madvise(va, hugeSize, AdviseFree))
		if got := pmdFlags(t, s, va); got != 0x8000000000000887 {
			t.Errorf("freed lazily: %#x", got)
		}
		e, _ := s.hugePMD(va)
		if ok, err := m.Reclaim(c, e.PFN(m.abi)); !ok || err != nil || m.SwapUsed() != 0 {
			t.Errorf("%v %v, %d slots", ok, err, m.SwapUsed())
		}
		holds(t, c, va, "\x00")
		if _, huge := s.hugePMD(va); huge != m.Policy.DiscardsHuge {
			t.Error("the table was left, or not: what is read is a huge zero page:", huge)
		}
		drained(t, c, used)
	})
}

// TestShmemSwap: shared memory goes to swap through the page cache: the entries become empty, and the file has the slot.
func TestShmemSwap(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va, err := c.Mmap(MmapArgs{Length: 2 * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapShared})
		must(t, err)
		fill(t, c, va, 2)
		child, err := c.Fork()
		must(t, err)
		for i := range x86.Virt(2) {
			if ok, err := m.Reclaim(c, s.pte(va+i*x86.PageSize).PFN(m.abi)); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
		if e := s.pte(va); !e.None() || m.SwapUsed() != 2 {
			t.Errorf("%#x, %d slots", e, m.SwapUsed())
		}
		o := m.CPU(1)
		must(t, o.Run(child))
		filled(t, o, va, 1)
		must(t, o.Store(va, []byte("PAGE")))
		holds(t, c, va, "PAGE 000")
		if n := m.SwapUsed(); n != 1 {
			t.Errorf("%d slots in use", n)
		}
		must(t, m.Swapoff(c))
		if n := m.SwapUsed(); n != 0 {
			t.Errorf("%d slots in use after swapoff", n)
		}
		holds(t, c, va+x86.PageSize, "page 001")
		child.Exit(o)
		drained(t, c, used)
	})
}

// TestSharedMarker: reclaim leaves a marker of a write-protected page of a file. try_to_unmap_one().
func TestSharedMarker(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va, err := c.Mmap(MmapArgs{Length: 2 * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapShared})
		must(t, err)
		fill(t, c, va, 2)
		u, err := c.Userfaultfd(0)
		must(t, err)
		must(t, u.Register(c, va, 2*x86.PageSize, UffdWP))
		must(t, u.WriteProtect(c, va, x86.PageSize, true))
		for i, want := range []x86.PTE{m.layout.MakePTEMarker(swapentry.MarkerUffdWP), 0} {
			at := va + x86.Virt(i)*x86.PageSize
			if ok, err := m.Reclaim(c, s.pte(at).PFN(m.abi)); !ok || err != nil || s.pte(at) != want {
				t.Errorf("page %d: %v %v, %#x, want %#x", i, ok, err, s.pte(at), want)
			}
		}
		filled(t, c, va, 2)
		uffdWrite(t, c, va, true)
	})
}

// TestNoRoomInSwap: without a free slot nothing goes out, and nothing is lost.
func TestNoRoomInSwap(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, err := New(Config{Profile: p, Slots: 2})
		must(t, err)
		defer m.Close()
		s, err := m.NewSpace()
		must(t, err)
		c := m.CPU(0)
		must(t, c.Run(s))
		used := m.ram.Used()
		va := mapAnon(t, c, 4)
		fill(t, c, va, 4)
		must(t, c.Madvise(va, 4*x86.PageSize, AdvisePageOut))
		if n := m.SwapUsed(); n != 2 || !s.pte(va+3*x86.PageSize).Present() {
			t.Errorf("%d slots in use, the last page %#x", n, s.pte(va+3*x86.PageSize))
		}
		filled(t, c, va, 4)
		drained(t, c, used)
	})
}
