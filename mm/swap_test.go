package mm

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// slotOf returns the slot that the swap entry at va names.
func slotOf(t testing.TB, s *Space, va x86.Virt) uint64 {
	t.Helper()
	d := s.m.layout.Decode(x86.LevelPTE, uint64(s.pte(va)))
	if d.Kind != swapentry.KindSwap {
		t.Fatalf("%v is %v, no swap entry", va, d.Kind)
	}
	return d.Offset
}

// holds checks the bytes that a CPU reads.
func holds(t testing.TB, c *CPU, va x86.Virt, want string) {
	t.Helper()
	b := make([]byte, len(want))
	must(t, c.Load(va, b))
	if string(b) != want {
		t.Errorf("%v holds %q, want %q", va, b, want)
	}
}

// drained ends the space of c, and checks that nothing is left of it.
func drained(t testing.TB, c *CPU, used uint64) {
	t.Helper()
	m, s := c.m, c.space
	must(t, m.Check())
	end := uint64(s.vmas[len(s.vmas)-1].End - s.vmas[0].Start)
	must(t, c.Munmap(s.vmas[0].Start, end))
	if got := m.ram.Used(); got != used {
		t.Errorf("%d frames in use, were %d", got, used)
	}
	if n := m.SwapUsed(); n != 0 {
		t.Errorf("%d slots in use", n)
	}
}

// TestSwapOutWorked: the worked values of try_to_unmap_one() and swap entries.
func TestSwapOutWorked(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, err := New(Config{Profile: p, Slots: 0x2000})
		must(t, err)
		defer m.Close()
		s, err := m.NewSpace()
		must(t, err)
		c := m.CPU(0)
		must(t, c.Run(s))
		used := m.ram.Used()
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("out")))
		m.swap.low = 0x1234
		must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
		if e := s.pte(va); e != 0x07ffffffffdb960a {
			t.Errorf("swapped out: %#x", e)
		}
		if i, ok := m.SwapSlot(0x1234); !ok || i.Entries != 1 || i.Cached {
			t.Errorf("slot %+v", i)
		}
		holds(t, c, va, "out")
		drained(t, c, used)
	})
}

// TestSwapInWorked: do_swap_page() for a page of one's own: soft-dirty comes back, and a read lets 6.12 write.
func TestSwapInWorked(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 2)
		for i := range x86.Virt(2) {
			must(t, c.Store(va+i*x86.PageSize, []byte("page")))
		}
		must(t, c.Madvise(va, 2*x86.PageSize, AdvisePageOut))
		holds(t, c, va, "page")
		wantFlags(t, s, va, pick(m, uint64(0x8000000000000825), 0x8000000000000827), "read")
		pfn := s.pte(va).PFN(m.abi)
		if f := m.folio(pfn); !m.exclusive(pfn) || f.flags&pgSwapCache == 0 || f.ref != 2 || m.swap.users(f) != 0 {
			t.Errorf("read: page %+v", f)
		}
		must(t, c.Store(va, []byte("PAGE")))
		wantFlags(t, s, va, 0x8000000000000867, "written after the read")
		if now := s.pte(va).PFN(m.abi); now != pfn {
			t.Error("an exclusive page was copied")
		}
		must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
		holds(t, c, va, "PAGE")
		must(t, c.Store(va+x86.PageSize, []byte("P")))
		wantFlags(t, s, va+x86.PageSize, 0x8000000000000867, "write")
		// 7.2 asks about the swap cache when the write has been served, and then no write is left to be served.
		refs := int32(1)
		if m.Policy.SwapInFreesLast {
			refs = 2
		}
		if f := m.folio(s.pte(va + x86.PageSize).PFN(m.abi)); f.flags&pgSwapCache != 0 != (refs == 2) || f.ref != refs {
			t.Errorf("write: page %+v", f)
		}
		holds(t, c, va+x86.PageSize, "Page")
		drained(t, c, used)
	})
}

// TestSwapInSoftDirty: with soft-dirty tracking, a page that was not soft-dirty comes back read-only from 6.12 on.
func TestSwapInSoftDirty(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("clean")))
		must(t, s.ClearRefs(c, ClearRefsSoftDirty))
		must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
		if e := s.pte(va); swapentry.SwpSoftDirty(e) || !swapentry.PTESwpExclusive(e) {
			t.Errorf("swapped out: %#x", e)
		}
		holds(t, c, va, "clean")
		wantFlags(t, s, va, 0x8000000000000025, "read")
		must(t, c.Store(va, []byte("dirty")))
		wantFlags(t, s, va, 0x8000000000000867, "write")
	})
}

// TestSwapInUffd: do_swap_page(), the rows of uffd-wp: the write comes to userfaultfd in every release.
func TestSwapInUffd(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := world(t, p)
		u, va := registered(t, c, 2, UffdWP, 0)
		must(t, c.Store(va, []byte("x")))
		must(t, c.Store(va+x86.PageSize, []byte("y")))
		must(t, u.WriteProtect(c, va, 2*x86.PageSize, true))
		must(t, c.Madvise(va, 2*x86.PageSize, AdvisePageOut))
		if e := s.pte(va); !swapentry.SwpUffdWP(e) || !swapentry.SwpSoftDirty(e) || !swapentry.PTESwpExclusive(e) {
			t.Errorf("swapped out: %#x", e)
		}
		holds(t, c, va, "x")
		wantFlags(t, s, va, 0x8000000000000c25, "read")
		var f *UffdFault
		if err := c.Store(va+x86.PageSize, []byte("z")); !errors.As(err, &f) || !f.WP {
			t.Errorf("write: %v", err)
		}
		wantFlags(t, s, va+x86.PageSize, pick(m, uint64(0x8000000000000c65), 0x8000000000000c25), "write")
		holds(t, c, va+x86.PageSize, "y")
	})
}

// TestSwapShared: a slot that two processes name: nobody has it for himself, and each ends with its own content.
func TestSwapShared(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("both")))
		child, err := c.Fork()
		must(t, err)
		if ok, err := m.Reclaim(c, s.pte(va).PFN(m.abi)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		slot := slotOf(t, s, va)
		if i, _ := m.SwapSlot(slot); i.Entries != 2 || swapentry.PTESwpExclusive(s.pte(va)) || s.pte(va) != child.pte(va) {
			t.Errorf("entries %#x and %#x, slot %+v", s.pte(va), child.pte(va), i)
		}
		holds(t, c, va, "both")
		wantFlags(t, s, va, 0x8000000000000825, "read of a shared slot")
		if pfn := s.pte(va).PFN(m.abi); m.exclusive(pfn) {
			t.Error("exclusive, but another process has the slot")
		}
		o := m.CPU(1)
		must(t, o.Run(child))
		must(t, o.Store(va, []byte("Him")))
		holds(t, o, va, "Himh")
		holds(t, c, va, "both")
		must(t, c.Store(va, []byte("Me")))
		holds(t, c, va, "Meth")
		child.Exit(o)
		drained(t, c, used)
	})
}

// TestSwapForkExclusive: fork of a swapped page: bit 3 goes in both, and the count rises.
func TestSwapForkExclusive(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("fork")))
		must(t, c.Madvise(va, x86.PageSize, AdvisePageOut))
		before := s.pte(va)
		child, err := c.Fork()
		must(t, err)
		want := swapentry.PTESwpClearExclusive(before)
		if !swapentry.PTESwpExclusive(before) || s.pte(va) != want || child.pte(va) != want {
			t.Errorf("%#x became %#x and %#x", before, s.pte(va), child.pte(va))
		}
		must(t, c.Store(va, []byte("mine")))
		child.Exit(m.CPU(1))
		holds(t, c, va, "mine")
		drained(t, c, used)
	})
}

// TestStaleWriteIsKept: what a CPU writes through an old translation before reclaim's flush is in the slot.
func TestStaleWriteIsKept(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 1)
		o := m.CPU(1)
		must(t, o.Run(s))
		must(t, o.Store(va, []byte("first")))
		out := m.Go(c, func() { must(t, c.Madvise(va, x86.PageSize, AdvisePageOut)) })
		if !out.RunTo(PointUnmapped) {
			t.Fatal("no point")
		}
		slot := slotOf(t, s, va)
		told := false
		m.Watch(func(e Event) {
			if e.Kind != EventFlush || e.Tree != s.tree {
				return
			}
			if !told && m.swap.slots[slot].filled {
				t.Error("the page was written before processors were told")
			}
			told = true
		})
		must(t, o.Store(va, []byte("later")))
		if out.Done() {
			t.Error("the write came by a fault: no translation was cached")
		}
		out.Finish()
		m.Watch(nil)
		slotOf(t, s, va)
		holds(t, o, va, "later")
	})
}

// TestFaultWaitsForReclaim: a fault on a page that is on its way out waits until it is there. Who waits holds the page, so
// that it is not freed.
func TestFaultWaitsForReclaim(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("wait")))
		out := m.Go(c, func() {
			if free, err := m.Reclaim(c, s.pte(va).PFN(m.abi)); free || err != nil {
				t.Error(free, err)
			}
		})
		if !out.RunTo(PointUnmapped) {
			t.Fatal("no point")
		}
		o := m.CPU(1)
		must(t, o.Run(s))
		holds(t, o, va, "wait")
		if !out.Done() {
			t.Error("the access did not wait")
		}
		drained(t, c, used)
	})
}

// TestProtectPaysForReclaim: change_protection(): what reclaim has not flushed yet is flushed before entries change.
func TestProtectPaysForReclaim(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 1)
		o := m.CPU(1)
		must(t, o.Run(s))
		must(t, o.Store(va, []byte("first")))
		out := m.Go(c, func() { _, _ = m.Reclaim(c, s.pte(va).PFN(m.abi)) })
		if !out.RunTo(PointUnmapped) {
			t.Fatal("no point")
		}
		must(t, m.CPU(2).Run(s))
		must(t, m.CPU(2).Mprotect(va, x86.PageSize, ProtRead))
		if out.Done() {
			t.Error("mprotect waited for reclaim")
		}
		var a *AccessError
		if err := o.Store(va, []byte("later")); !errors.As(err, &a) || a.Signal != SegvAccErr {
			t.Errorf("write after mprotect: %v", err)
		}
		out.Finish()
		holds(t, o, va, "first")
	})
}
