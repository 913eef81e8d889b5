package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// twins is two processes' worth of equal pages: n in each of two spaces of their own, in mergeable areas.
func twins(t testing.TB, m *Machine, c *CPU, content string) (va, vb x86.Virt, o *CPU) {
	t.Helper()
	s, err := m.NewSpace()
	must(t, err)
	o = m.CPU(1)
	must(t, o.Run(s))
	for i, p := range []*CPU{c, o} {
		at := mapAnon(t, p, 1)
		must(t, p.Madvise(at, x86.PageSize, AdviseMergeable))
		must(t, p.Store(at, []byte(content)))
		if i == 0 {
			va = at
		} else {
			vb = at
		}
	}
	return va, vb, o
}

func merged(t testing.TB, m *Machine, c *CPU, want int, places ...Place) {
	t.Helper()
	if n, err := m.KSMMerge(c, places...); n != want || err != nil {
		t.Fatalf("%d entries merged, want %d; %v", n, want, err)
	}
	must(t, m.Check())
}

// TestKSMWorked: KSM, page_mkclean() and guards: the page that stays is clean and read-only with soft-dirty kept, the other entry
// comes from vm_page_prot; a write copies; the last user may not take the page.
func TestKSMWorked(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va, vb, o := twins(t, m, c, "same")
		a, b := Place{Space: s, VA: va}, Place{Space: o.space, VA: vb}
		merged(t, m, c, 1, a, b)
		pfn := s.pte(va).PFN(m.abi)
		if f := m.folio(pfn); o.space.pte(vb).PFN(m.abi) != pfn || f.flags&pgKSM == 0 || f.ref != 2 || m.exclusive(pfn) {
			t.Errorf("page %+v", f)
		}
		wantFlags(t, o.space, vb, 0x8000000000000825, "write-protected")
		wantFlags(t, s, va, 0x8000000000000025, "replaced")
		must(t, c.Store(va, []byte("mine")))
		wantFlags(t, s, va, 0x8000000000000867, "written")
		holds(t, o, vb, "same")
		must(t, o.Store(vb, []byte("last")))
		if now := o.space.pte(vb).PFN(m.abi); now == pfn {
			t.Error("a KSM page was written in place")
		}
		holds(t, c, va, "mine")
		holds(t, o, vb, "last")
		o.space.Exit(o)
		drained(t, c, used)
	})
}

// TestKSMRefuses: a page that is held, pinned, different, or in an area that is not mergeable stays as it is.
func TestKSMRefuses(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va, vb, o := twins(t, m, c, "same")
		a, b := Place{Space: s, VA: va}, Place{Space: o.space, VA: vb}
		before, other := s.pte(va), o.space.pte(vb)
		for _, how := range []GUPFlags{0, GUPPin} {
			p, err := o.GetPages(vb, 1, how)
			must(t, err)
			merged(t, m, c, 0, a, b)
			merged(t, m, c, 0, b, a)
			p.Put()
		}
		must(t, o.Store(vb, []byte("else")))
		merged(t, m, c, 0, a, b)
		must(t, o.Store(vb, []byte("same")))
		must(t, o.Madvise(vb, x86.PageSize, AdviseUnmergeable))
		merged(t, m, c, 0, a, b)
		holds(t, c, va, "same")
		must(t, c.Store(va, []byte("S")))
		if o.space.pte(vb) != other || s.pte(va).Flags(m.abi) != before.Flags(m.abi) {
			t.Errorf("%#x became %#x, %#x became %#x", before, s.pte(va), other, o.space.pte(vb))
		}
		holds(t, o, vb, "same")
	})
}

// TestKSMZero: KSM, page_mkclean() and guards, the zero page: special, dirty from 6.12 on; unmerging gives pages again.
func TestKSMZero(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va, _, o := twins(t, m, c, "\x00")
		if n, err := m.KSMMergeZero(c, Place{Space: s, VA: va}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if e := s.pte(va); e.PFN(m.abi) != m.zero {
			t.Errorf("%#x", e)
		}
		wantFlags(t, s, va, pick(m, uint64(0x8000000000000225), 0x8400000000000a25), "zero page")
		must(t, c.Madvise(va, x86.PageSize, AdviseUnmergeable))
		if zero := s.pte(va).PFN(m.abi) == m.zero; zero != !m.Policy.KSMZeroDirty {
			t.Errorf("after unmerge %#x", s.pte(va))
		}
		must(t, c.Store(va, []byte("1")))
		holds(t, c, va, "1")
		o.space.Exit(o)
		drained(t, c, used)
	})
}

// TestKSMUnmerge: MADV_UNMERGEABLE copies: by a write in 6.1, by unsharing later.
func TestKSMUnmerge(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va, vb, o := twins(t, m, c, "same")
		merged(t, m, c, 1, Place{Space: s, VA: va}, Place{Space: o.space, VA: vb})
		must(t, o.Madvise(vb, x86.PageSize, AdviseUnmergeable))
		wantFlags(t, o.space, vb, pick(m, uint64(0x8000000000000867), 0x8000000000000825), "unmerged")
		if pfn := o.space.pte(vb).PFN(m.abi); !m.exclusive(pfn) || m.folio(pfn).flags&pgKSM != 0 {
			t.Errorf("page %+v", m.folio(pfn))
		}
		holds(t, o, vb, "same")
		holds(t, c, va, "same")
		o.space.Exit(o)
		drained(t, c, used)
	})
}

// TestKSMReach: from a KSM page to all its mappings, those of a forked process too: reclaim replaces them all, and
// each process gets its content back, as a copy where the page in the swap cache belongs to another.
func TestKSMReach(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va, vb, o := twins(t, m, c, "same")
		merged(t, m, c, 1, Place{Space: s, VA: va}, Place{Space: o.space, VA: vb})
		child, err := c.Fork()
		must(t, err)
		pfn := s.pte(va).PFN(m.abi)
		if n := m.mapcount(pfn); n != 3 {
			t.Fatalf("%d mappings", n)
		}
		p, err := c.GetPages(va, 1, 0)
		must(t, err)
		if ok, err := m.Reclaim(c, pfn); ok || err != nil {
			t.Fatal(ok, err)
		}
		if i, _ := m.SwapSlot(slotOf(t, s, va)); i.Entries != 3 || m.mapcount(pfn) != 0 {
			t.Fatalf("slot %+v, %d mappings", i, m.mapcount(pfn))
		}
		holds(t, c, va, "same") // still the KSM page
		if s.pte(va).PFN(m.abi) != pfn || m.exclusive(pfn) {
			t.Errorf("%#x", s.pte(va))
		}
		p.Put()
		if ok, err := m.Reclaim(c, pfn); !ok || err != nil {
			t.Fatal(ok, err)
		}
		holds(t, o, vb, "same")
		first := o.space.pte(vb).PFN(m.abi)
		holds(t, c, va, "same")
		if s.pte(va).PFN(m.abi) == first || m.folio(first).flags&pgKSM != 0 {
			t.Error("two families share a page that is no KSM page")
		}
		must(t, m.Check())
		o2 := m.CPU(2)
		must(t, o2.Run(child))
		must(t, o2.Store(va, []byte("kid")))
		must(t, m.Swapoff(c))
		holds(t, o2, va, "kide")
		holds(t, c, va, "same")
		holds(t, o, vb, "same")
		child.Exit(o2)
		o.space.Exit(o)
		drained(t, c, used)
	})
}

// TestKSMMigrates: a KSM page keeps its mappings, and its node, when it moves.
func TestKSMMigrates(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va, vb, o := twins(t, m, c, "same")
		merged(t, m, c, 1, Place{Space: s, VA: va}, Place{Space: o.space, VA: vb})
		old := s.pte(va).PFN(m.abi)
		must(t, c.MovePages([]x86.Virt{va}, 1, true)[0])
		pfn := s.pte(va).PFN(m.abi)
		if pfn == old || o.space.pte(vb).PFN(m.abi) != pfn || m.pages[pfn].ksm == nil || m.pages[pfn].ksm.pfn != pfn {
			t.Errorf("%#x to %#x, other %#x", old, pfn, o.space.pte(vb))
		}
		at := mapAnon(t, c, 1)
		must(t, c.Madvise(at, x86.PageSize, AdviseMergeable))
		must(t, c.Store(at, []byte("same")))
		merged(t, m, c, 1, Place{Space: s, VA: at})
		if s.pte(at).PFN(m.abi) != pfn {
			t.Error("not merged with the page that moved")
		}
		o.space.Exit(o)
		drained(t, c, used)
	})
}

// TestKSMMoved: mremap gives the moved area pages of its own first, because KSM finds pages by their addresses.
func TestKSMMoved(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va, vb, o := twins(t, m, c, "same")
		merged(t, m, c, 1, Place{Space: s, VA: va}, Place{Space: o.space, VA: vb})
		to, err := c.Mremap(va, x86.PageSize, x86.PageSize, RemapMayMove|RemapFixed, va-16*x86.PageSize)
		must(t, err)
		if pfn := s.pte(to).PFN(m.abi); m.folio(pfn).flags&pgKSM != 0 || !m.exclusive(pfn) {
			t.Errorf("moved page %+v", m.folio(pfn))
		}
		holds(t, c, to, "same")
		o.space.Exit(o)
		drained(t, c, used)
	})
}
