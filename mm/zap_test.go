package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// TestZapKeepsDirt: the entries alone know that pages of shared memory were written, and by whom they were used. What is
// unmapped tells the pages: reclaim forgets those that were never written.
func TestZapKeepsDirt(t *testing.T) {
	const pages = 8
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va, err := c.Mmap(MmapArgs{Length: pages * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapShared})
		must(t, err)
		must(t, c.Madvise(va, pages*x86.PageSize, AdvisePopulateRead))
		fill(t, c, va, pages)
		var pfns []x86.PFN
		for i := range x86.Virt(pages) {
			pfn := s.pte(va + i*x86.PageSize).PFN(m.abi)
			if m.folio(pfn).flags&pgDirty != 0 {
				t.Fatalf("page %d: dirty before its entry is gone", i)
			}
			m.folio(pfn).flags &^= pgReferenced
			pfns = append(pfns, pfn)
		}
		must(t, c.Madvise(va, pages*x86.PageSize, AdviseDontNeed))
		for i, pfn := range pfns {
			if f := m.folio(pfn).flags; f&(pgDirty|pgReferenced) != pgDirty|pgReferenced {
				t.Errorf("page %d: flags %#x", i, f)
			}
			if ok, err := m.Reclaim(c, pfn); !ok || err != nil {
				t.Error(ok, err)
			}
		}
		filled(t, c, va, pages)
		must(t, m.Check())
		drained(t, c, used)
	})
}

// TestZapOfOddPages: among ordinary pages, whose counts are taken back together, are those that need more: the zero page,
// a large folio, a pinned page, one that a child shares, one of the swap cache, a failed one.
func TestZapOfOddPages(t *testing.T) {
	for _, p := range Profiles() {
		t.Run(p.Kernel.Release, func(t *testing.T) {
			m, err := New(Config{Profile: p, Orders: 1 << 2})
			must(t, err)
			t.Cleanup(func() { must(t, m.Close()) })
			s, err := m.NewSpace()
			must(t, err)
			c := m.CPU(0)
			must(t, c.Run(s))
			used := m.ram.Used()
			const pages = 64
			va := mapAnon(t, c, pages)
			at := func(i int) x86.Virt { return va + x86.Virt(i)*x86.PageSize }
			must(t, c.Madvise(va, 40*x86.PageSize, AdviseNoHugePage)) // small pages: the rest are folios of four
			must(t, c.Madvise(at(3), x86.PageSize, AdvisePopulateRead))
			for i := range pages {
				if i != 3 {
					must(t, c.Store(at(i), []byte{1}))
				}
			}
			must(t, c.Madvise(at(7), x86.PageSize, AdvisePageOut))
			must(t, c.Load(at(7), make([]byte, 1)))
			pin, err := c.GetPages(at(11), 1, GUPPin|GUPWrite)
			must(t, err)
			child, err := c.Fork()
			must(t, err)
			o := m.CPU(1)
			must(t, o.Run(child))
			must(t, o.Madvise(va, 20*x86.PageSize, AdviseDontNeed)) // the parent alone has those again
			must(t, m.Check())
			must(t, c.Madvise(at(17), x86.PageSize, AdviseHWPoison))
			must(t, c.Munmap(va, pages*x86.PageSize))
			must(t, m.Check())
			if got := pin.Content(0)[0]; got != 1 {
				t.Errorf("the pinned page holds %d", got)
			}
			for i := 20; i < pages; i++ {
				holds(t, o, at(i), "\x01")
			}
			pin.Put()
			child.Exit(o)
			must(t, m.Check())
			if got := m.ram.Used(); got != used+1 { // the failed one
				t.Errorf("%d frames in use, were %d", got, used)
			}
		})
	}
}
