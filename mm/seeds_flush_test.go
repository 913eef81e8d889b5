package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// TestSeedD is sequence S-D: an exclusive page to which somebody else holds a reference or a pin.
func TestSeedD(t *testing.T) {
	each(t, func(t *testing.T, p Profile) { testSeedD(t, p, false) })
	t.Run("5.11-rc", func(t *testing.T) {
		p := historicProfile(t, Linux6_1(), "reuse-by-page-count")
		p.Policy.ClearRefsPinned = true
		testSeedD(t, p, true)
	})
}

func testSeedD(t *testing.T, p Profile, copies bool) {
	for _, flags := range []GUPFlags{0, GUPPin} {
		m, c, s := checked(t, p)
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("old")))
		expectFlags(t, "step 1", s, va, 0x8000000000000867)
		held, err := c.GetPages(va, 1, flags)
		must(t, err)
		pfn := held.Frames()[0]
		must(t, s.ClearRefs(c, ClearRefsSoftDirty))
		if flags == GUPPin && !copies {
			expectFlags(t, "step 2'", s, va, 0x8000000000000867)
		} else {
			expectFlags(t, "step 2", s, va, byKernel(p, 0x8000000000000065, 0x8400000000000025))
		}
		must(t, c.Store(va, []byte("new")))
		expectFlags(t, "step 3", s, va, 0x8000000000000867)
		if got := s.pte(va).PFN(m.abi); (got != pfn) != copies {
			t.Errorf("step 3: frame %#x, was %#x", got, pfn)
		}
		held.Put()

		if held, err = c.GetPages(va, 1, flags); err != nil {
			t.Fatal(err)
		}
		pfn = held.Frames()[0]
		u, err := c.Userfaultfd(0)
		must(t, err)
		must(t, u.Register(c, va, x86.PageSize, UffdWP))
		must(t, u.WriteProtect(c, va, x86.PageSize, true))
		must(t, u.WriteProtect(c, va, x86.PageSize, false))
		expectFlags(t, "step 4", s, va, byKernel(p, 0x8000000000000865, 0x8000000000000867))
		must(t, c.Store(va, []byte("end")))
		if got := s.pte(va).PFN(m.abi); (got != pfn) != copies {
			t.Errorf("step 5: frame %#x, was %#x", got, pfn)
		}
		held.Put()
	}
}

// TestSeedD1 is interleaving D1: a write protection, resolved and followed by a write before its flush. That the
// resolving call would flush everything, because another flush is pending, comes too late: it is stopped before.
func TestSeedD1(t *testing.T) {
	for _, policy := range []string{"", "wp-fault-without-flush"} {
		p := Linux6_1()
		if policy != "" {
			p = historicProfile(t, p, policy)
		}
		m, c0, s := world(t, p)
		u, va := registered(t, c0, 1, UffdWP, 0)
		for i := range 3 {
			must(t, m.CPU(i+1).Run(s))
		}
		c1, c2, c3 := m.CPU(1), m.CPU(2), m.CPU(3)
		must(t, c2.Store(va, []byte("first"))) // CPU 2 caches a writable translation
		held, err := c0.GetPages(va, 1, 0)
		must(t, err)
		protect := m.Go(c0, func() { must(t, u.WriteProtect(c0, va, x86.PageSize, true)) })
		if !protect.RunTo(PointFlush) {
			t.Fatal("no flush was owed")
		}
		expectFlags(t, "write-protected", s, va, 0x8000000000000c65)
		if !s.FlushPending() {
			t.Error("no flush is pending before the flush")
		}
		must(t, c2.Store(va, []byte("stale"))) // through the stale translation
		expectFlags(t, "after the stale write", s, va, 0x8000000000000c65)
		resolve := m.Go(c1, func() { must(t, u.WriteProtect(c1, va, x86.PageSize, false)) })
		if !resolve.RunTo(PointFlush) {
			t.Fatal("the resolving call would not flush")
		}
		expectFlags(t, "resolved", s, va, 0x8000000000000865)
		write := m.Go(c3, func() { must(t, c3.Store(va+8, []byte("x"))) })
		copied := write.RunTo(PointCopied)
		late := c2.Store(va, []byte("late!"))
		write.Finish()
		resolve.Finish()
		protect.Finish()
		must(t, late)
		if copied != (policy != "") {
			t.Errorf("%q: copied: %v", policy, copied)
		}
		want := "late!"
		if policy != "" {
			want = "stale" // lost: CPU 2 wrote to the old page after it had been copied
		}
		text(t, c3, va, want)
		held.Put()
	}
}

// TestSeedD2 is interleaving D2: the same with clear_refs under the mmap lock for reading.
func TestSeedD2(t *testing.T) {
	for _, policy := range []string{"", "clear-refs-shared"} {
		p := Linux6_1()
		if policy != "" {
			p = historicProfile(t, p, policy)
		}
		m, c0, s := world(t, p)
		va := mapAnon(t, c0, 1)
		c1, c2 := m.CPU(1), m.CPU(2)
		must(t, c1.Run(s))
		must(t, c2.Run(s))
		must(t, c2.Store(va, []byte("first")))
		held, err := c0.GetPages(va, 1, 0)
		must(t, err)
		clear := m.Go(c0, func() { must(t, s.ClearRefs(c0, ClearRefsSoftDirty)) })
		if !clear.RunTo(PointFlush) {
			t.Fatal("no flush was owed")
		}
		expectFlags(t, "clear_refs", s, va, 0x8000000000000065)
		write := m.Go(c1, func() { must(t, c1.Store(va+8, []byte("x"))) })
		copies := write.RunTo(PointCopied)
		if clear.Done() != (policy == "") {
			t.Errorf("%q: the fault waits for clear_refs: %v", policy, clear.Done())
		}
		must(t, c2.Store(va, []byte("late!")))
		write.Finish()
		clear.Finish()
		if copies != (policy != "") {
			t.Errorf("%q: copied: %v", policy, copies)
		}
		want := "late!"
		if policy != "" {
			want = "first"
		}
		text(t, c1, va, want)
		held.Put()
	}
}
