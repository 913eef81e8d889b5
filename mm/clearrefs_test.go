package mm

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// TestClearRefsSoftDirty is clear_refs.
func TestClearRefsSoftDirty(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		va := mapAnon(t, c, 3)
		const page = x86.PageSize
		must(t, c.Store(va, []byte{1}))
		must(t, c.Load(va+page, make([]byte, 1)))
		must(t, s.ClearRefs(c, ClearRefsSoftDirty))
		expectFlags(t, "a page", s, va, byKernel(p, 0x8000000000000065, 0x8400000000000025))
		expectFlags(t, "the zero page", s, va+page, 0x8000000000000225)
		if v := s.VMA(va); v.flags&VMSoftDirty != 0 {
			t.Error("the area is soft-dirty still")
		}
		words := s.Pagemap(va, 3)
		for i, w := range words {
			if w.Parts().SoftDirty {
				t.Errorf("page %d: %v", i, w)
			}
		}
		must(t, c.Store(va, []byte{1}))
		must(t, c.Store(va+2*page, []byte{1}))
		expectFlags(t, "written again", s, va, 0x8000000000000867)
		for i, want := range []bool{true, false, true} {
			if got := s.Pagemap(va, 3)[i].Parts().SoftDirty; got != want {
				t.Errorf("page %d soft-dirty: %v", i, got)
			}
		}
		// An area is soft-dirty as a whole when it is new.
		if w := s.Pagemap(mapAnonAt(t, c, va-16*page, 1), 1)[0]; !w.Parts().SoftDirty || w.Parts().Present {
			t.Errorf("an untouched page of a new area: %v", w)
		}
		if m.Policy.ClearRefsShares {
			t.Error("a release holds the mmap lock for reading")
		}
		wantErrno(t, "a bad value", s.ClearRefs(c, 0), ErrInval)
		wantErrno(t, "a bad value", s.ClearRefs(c, 5), ErrInval)
	})
}

func mapAnonAt(t testing.TB, c *CPU, va x86.Virt, pages uint64) x86.Virt {
	t.Helper()
	va, err := c.Mmap(MmapArgs{Addr: va, Length: pages * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapFixed})
	must(t, err)
	return va
}

// TestClearRefsNonPresent is clear_refs, row "non-present": bit 1 goes, the rest stays. Section 2, second worked
// value: since 6.12 the page comes back writable and not soft-dirty, so that the next write is not noticed.
func TestClearRefsNonPresent(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := world(t, p)
		va := mapAnon(t, c, 2)
		must(t, c.Store(va, make([]byte, 2*x86.PageSize)))
		migrate := m.Go(c, func() { c.MovePages([]x86.Virt{va}, 1, true) })
		if !migrate.RunTo(PointMigrating) {
			t.Fatal("the page does not migrate")
		}
		before := s.pte(va)
		if !swapentry.SwpSoftDirty(before) {
			t.Fatalf("migration entry %#x", before)
		}
		must(t, s.ClearRefs(m.CPU(1), ClearRefsSoftDirty))
		if got := s.pte(va); got != swapentry.SwpClearSoftDirty(before) {
			t.Errorf("%#x became %#x", before, got)
		}
		migrate.Finish()
		expectFlags(t, "migrated", s, va, byKernel(p, 0x8000000000000867, 0x8000000000000067))
	})
}

// TestClearRefsYoung is clear_refs, last paragraph: values 1 to 3.
func TestClearRefsYoung(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		va := mapAnon(t, c, 2)
		must(t, c.Store(va, []byte{1}))
		must(t, c.Load(va+x86.PageSize, make([]byte, 1)))
		flushes := 0
		m.Watch(func(e Event) {
			if e.Kind == EventFlush {
				flushes++
			}
		})
		must(t, s.ClearRefs(c, ClearRefsMapped))
		expectFlags(t, "no area with a file", s, va, 0x8000000000000867)
		must(t, s.ClearRefs(c, ClearRefsAnon))
		expectFlags(t, "cleared", s, va, 0x8000000000000847)
		expectFlags(t, "the zero page has no A to clear", s, va+x86.PageSize, 0x8000000000000225)
		must(t, s.ClearRefs(c, ClearRefsAll))
		if flushes != 0 {
			t.Errorf("%d flushes", flushes)
		}
	})
}

// TestClearRefsWithoutFlush is the missing flush that the discussion of January 2021 found beside D2: a processor goes
// on writing without a fault, and nobody hears of it.
func TestClearRefsWithoutFlush(t *testing.T) {
	for _, policy := range []string{"", "clear-refs-without-flush"} {
		p := Linux6_1()
		if policy != "" {
			p = historicProfile(t, p, policy)
		}
		_, c, s := world(t, p)
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte{1}))
		must(t, s.ClearRefs(c, ClearRefsSoftDirty))
		must(t, c.Store(va, []byte{2}))
		want := uint64(0x8000000000000867)
		if policy != "" {
			want = 0x8000000000000065
		}
		expectFlags(t, policy, s, va, want)
	}
}

// TestPagemap: the words of present, absent and shared pages.
func TestPagemap(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		u, va := registered(t, c, 3, UffdWP, 0)
		must(t, s.ClearRefs(c, ClearRefsSoftDirty))
		must(t, c.Store(va, []byte{1}))
		must(t, u.WriteProtect(c, va, x86.PageSize, true))
		must(t, c.Load(va+x86.PageSize, make([]byte, 1)))
		w := s.Pagemap(va-x86.PageSize, 4)
		pfn := s.pte(va).PFN(m.abi)
		if w[0] != 0 || w[3] != 0 {
			t.Errorf("no area: %v, nothing there: %v", w[0], w[3])
		}
		if got, want := w[1].Parts(), (swapentry.PagemapParts{Present: true, UffdWP: true, Exclusive: true, SoftDirty: true, PFN: pfn}); got != want {
			t.Errorf("page: %+v, want %+v", got, want)
		}
		if got, want := w[2].Parts(), (swapentry.PagemapParts{Present: true, PFN: m.zero}); got != want {
			t.Errorf("zero page: %+v, want %+v", got, want)
		}
		_, err := c.Fork()
		must(t, err)
		if w := s.Pagemap(va, 1)[0].Parts(); w.Exclusive || !w.Present {
			t.Errorf("mapped twice: %+v", w)
		}
	})
}
