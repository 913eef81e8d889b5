package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// historicProfile returns a release with a historic behaviour.
func historicProfile(t testing.TB, p Profile, name string) Profile {
	t.Helper()
	h, err := HistoricNamed(name)
	must(t, err)
	h.Apply(&p.Policy)
	return p
}

// sharedWP is a world in which a parent and its child share two pages, the first of which is write-protected through
// the parent's userfaultfd: sequence S-C up to step 3.
func sharedWP(t testing.TB, p Profile) (*CPU, *Uffd, x86.Virt, *Space) {
	t.Helper()
	m, c, s := world(t, p)
	va := mapAnon(t, c, 2)
	must(t, c.Store(va, []byte("before")))
	child, err := c.Fork()
	must(t, err)
	must(t, m.CPU(3).Run(child))
	u, err := c.Userfaultfd(0)
	must(t, err)
	must(t, u.Register(c, va, 2*x86.PageSize, UffdWP))
	must(t, u.WriteProtect(c, va, x86.PageSize, true))
	expectFlags(t, "step 3", s, va, byKernel(p, 0x8000000000000c65, 0x8400000000000c25))
	return c, u, va, child
}

func text(t testing.TB, c *CPU, va x86.Virt, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if must(t, c.Load(va, b)); string(b) != want {
		t.Errorf("CPU %d reads %q, want %q", c.ID(), b, want)
	}
}

// TestSeedC is sequence S-C of the 2019 discussion.
func TestSeedC(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		c, u, va, child := sharedWP(t, p)
		s, m := c.space, c.m
		pfn := s.pte(va).PFN(m.abi)
		must(t, u.WriteProtect(c, va, x86.PageSize, false))
		expectFlags(t, "step 4", s, va, byKernel(p, 0x8000000000000865, 0x8400000000000825))
		must(t, c.Store(va, []byte("after!")))
		expectFlags(t, "step 5", s, va, 0x8000000000000867)
		if got := s.pte(va).PFN(m.abi); got == pfn || child.pte(va).PFN(m.abi) != pfn {
			t.Errorf("step 5: parent has %#x, child %#x, the page was %#x", got, child.pte(va).PFN(m.abi), pfn)
		}
		text(t, m.CPU(3), va, "before")
	})
}

// TestSeedCZeroPage is the zero page variant of S-C.
func TestSeedCZeroPage(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		_, c, s := checked(t, p)
		u, va := registered(t, c, 1, UffdWP, 0)
		must(t, c.Load(va, make([]byte, 1)))
		for _, step := range []struct {
			protect bool
			want    uint64
		}{{true, 0x8000000000000625}, {false, 0x8000000000000225}} {
			must(t, u.WriteProtect(c, va, x86.PageSize, step.protect))
			expectFlags(t, "zero page", s, va, step.want)
			if got := s.pte(va).PFN(s.m.abi); got != s.m.zero {
				t.Errorf("frame %#x", got)
			}
		}
		must(t, c.Store(va, []byte{1}))
		expectFlags(t, "written", s, va, 0x8000000000000867)
	})
}

// TestSeedCNoCOW is step 4' of S-C: what resolving without a copy does.
func TestSeedCNoCOW(t *testing.T) {
	c, u, va, _ := sharedWP(t, historicProfile(t, Linux6_1(), "resolve-without-cow"))
	must(t, u.WriteProtect(c, va, x86.PageSize, false))
	expectFlags(t, "step 4'", c.space, va, 0x8000000000000867)
	must(t, c.Store(va, []byte("after!")))
	text(t, c.m.CPU(3), va, "after!") // the child sees it
}

// TestSeedCDraft is step 4” of S-C, and what the drafts make of it: they copy in time.
func TestSeedCDraft(t *testing.T) {
	for _, name := range []string{"cow-in-change-pte-range", "cow-in-change-pte-range-v4"} {
		c, u, va, _ := sharedWP(t, historicProfile(t, Linux6_1(), name))
		s, m := c.space, c.m
		pfn := s.pte(va).PFN(m.abi)
		// A watcher sees each entry that asks for its write bit.
		var asked x86.PTE
		m.Watch(func(e Event) {
			if e.Kind == EventGate {
				asked = e.Gate.Entry
			}
		})
		must(t, u.WriteProtect(c, va, x86.PageSize, false))
		m.Watch(nil)
		if got := asked.Flags(m.abi); got != 0x8000000000000025 { // 4'' less U, which goes in the same step
			t.Errorf("%s: %#x asks for the write bit", name, asked)
		}
		expectFlags(t, name, s, va, 0x8000000000000027)
		if s.pte(va).PFN(m.abi) == pfn {
			t.Errorf("%s: not copied", name)
		}
		must(t, c.Store(va, []byte("after!")))
		text(t, m.CPU(3), va, "before")
	}
}

// draftRace is the interleaving of the 2019 draft: page 0 is shared, page 1 exclusive (B), both write-protected. While
// CPU 0 copies page 0, CPU 1 drops it.
func draftRace(t *testing.T, policy string) (c0, c1 *CPU, va x86.Virt, resolve *Task) {
	t.Helper()
	c0, u, va, _ := sharedWP(t, historicProfile(t, Linux6_1(), policy))
	c1 = c0.m.CPU(1)
	must(t, c1.Run(c0.space))
	must(t, c0.Store(va+x86.PageSize, []byte("B")))
	must(t, u.WriteProtect(c0, va, 2*x86.PageSize, true))
	resolve = c0.m.Go(c0, func() { must(t, u.WriteProtect(c0, va, 2*x86.PageSize, false)) })
	if !resolve.RunTo(PointResolveCopy) { // step 1
		t.Fatal("nothing was copied")
	}
	expectFlags(t, "while it is copied", c0.space, va, 0x8000000000000c65)
	must(t, c1.Madvise(va, x86.PageSize, AdviseDontNeed)) // step 2
	return c0, c1, va, resolve
}

// TestSeedCDraftRace is the interleaving under the draft: a page is lost.
func TestSeedCDraftRace(t *testing.T) {
	c0, c1, va, resolve := draftRace(t, "cow-in-change-pte-range")
	b := c0.space.pte(va + x86.PageSize).PFN(c0.m.abi)
	if !resolve.RunTo(PointResolveCleared) { // steps 3 and 4
		t.Fatal("the loop went on with the lock")
	}
	if e := c0.space.pte(va + x86.PageSize); e != 0 {
		t.Errorf("step 4: %#x", e)
	}
	must(t, c1.Store(va+x86.PageSize, []byte("C"))) // step 5
	resolve.Finish()                                // steps 6 and 7
	expectFlags(t, "step 6", c0.space, va+x86.PageSize, 0x8000000000000867)
	if got := c0.space.pte(va + x86.PageSize).PFN(c0.m.abi); got != b {
		t.Errorf("step 6: frame %#x, want B %#x", got, b)
	}
	text(t, c0, va+x86.PageSize, "B") // the write of step 5 has vanished
}

// TestSeedCDraftV4Race is the same with the lock retaken: nothing is lost.
func TestSeedCDraftV4Race(t *testing.T) {
	c0, c1, va, resolve := draftRace(t, "cow-in-change-pte-range-v4")
	if resolve.RunTo(PointResolveCleared) {
		t.Fatal("the loop went on without the lock")
	}
	must(t, c1.Store(va+x86.PageSize, []byte("C")))
	text(t, c0, va+x86.PageSize, "C")
	if e := c0.space.pte(va); e != 0 {
		t.Errorf("the dropped page: %#x", e)
	}
}
