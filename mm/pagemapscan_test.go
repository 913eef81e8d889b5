package mm

import (
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// tracked returns n pages of which writes are tracked asynchronously.
func tracked(t testing.TB, c *CPU, n uint64) x86.Virt {
	t.Helper()
	_, va := registered(t, c, n, UffdWP, UffdWPAsync)
	must(t, c.Space().ClearRefs(c, ClearRefsSoftDirty))
	return va
}

func scanWritten(t testing.TB, s *Space, va x86.Virt, n uint64, f ScanFlags) []Region {
	t.Helper()
	r, err := s.PagemapScan(s.m.CPU(0), ScanArgs{
		Start: va, End: va + x86.Virt(n)*x86.PageSize, Flags: f, Regions: 64, Mask: PageWritten, Return: PageWritten,
	})
	if must(t, err); r.WalkEnd != va+x86.Virt(n)*x86.PageSize {
		t.Errorf("the walk ended at %v", r.WalkEnd)
	}
	return r.Regions
}

func pagesFrom(va x86.Virt, first, n uint64, c Category) Region {
	return Region{va + x86.Virt(first)*x86.PageSize, va + x86.Virt(first+n)*x86.PageSize, c}
}

// TestScanTracksWrites is what the call is for: find what was written, and forget it, in one step.
func TestScanTracksWrites(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		if !p.Policy.UffdWPAsync {
			_, err := s.PagemapScan(c, ScanArgs{Start: 0x1000, End: 0x2000})
			wantErrno(t, "no such call", err, ErrNoSys)
			return
		}
		va := tracked(t, c, 8)
		const page = x86.PageSize
		must(t, c.Store(va+page, make([]byte, 2*page)))
		// Slots without a page count as written, too.
		if got, want := scanWritten(t, s, va, 8, ScanWPMatching), []Region{pagesFrom(va, 0, 8, PageWritten)}; !slices.Equal(got, want) {
			t.Errorf("first scan: %v, want %v", got, want)
		}
		expectFlags(t, "a page", s, va+page, 0x8400000000000c25)
		if e := s.pte(va); e != m.layout.MakePTEMarker(swapentry.MarkerUffdWP) {
			t.Errorf("an empty slot: %#x", e)
		}
		if got := scanWritten(t, s, va, 8, ScanWPMatching); len(got) != 0 {
			t.Errorf("nothing was written: %v", got)
		}
		must(t, c.Store(va, []byte{1}))
		must(t, c.Store(va+page, []byte{1}))
		must(t, c.Store(va+4*page, []byte{1}))
		must(t, c.Load(va+6*page, make([]byte, 1)))
		want := []Region{pagesFrom(va, 0, 2, PageWritten), pagesFrom(va, 4, 1, PageWritten)}
		if got := scanWritten(t, s, va, 8, 0); !slices.Equal(got, want) {
			t.Errorf("written: %v, want %v", got, want)
		}
		if got := scanWritten(t, s, va, 8, ScanWPMatching); !slices.Equal(got, want) {
			t.Errorf("written, and forgotten: %v, want %v", got, want)
		}
		if got := scanWritten(t, s, va, 8, 0); len(got) != 0 {
			t.Errorf("forgotten: %v", got)
		}
	})
}

// TestScanCategories is PAGEMAP_SCAN, first table.
func TestScanCategories(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		if !p.Policy.UffdWPAsync {
			return // no such call
		}
		m, c, s := checked(t, p)
		va := mapAnon(t, c, 6)
		must(t, s.ClearRefs(c, ClearRefsSoftDirty))
		const page = x86.PageSize
		must(t, c.Store(va, []byte{1}))
		must(t, c.Load(va+page, make([]byte, 1)))
		must(t, c.Store(va+2*page, []byte{1}))
		migrate := m.Go(c, func() { c.MovePages([]x86.Virt{va + 2*page}, 1, true) })
		migrate.RunTo(PointMigrating)
		all := PageSoftDirty<<1 - 1
		want := []Region{
			pagesFrom(va, 0, 1, PagePresent|PageWritten|PageSoftDirty),
			pagesFrom(va, 1, 1, PagePresent|PageWritten|PageZero),
			pagesFrom(va, 2, 1, PageSwapped|PageWritten|PageSoftDirty),
			pagesFrom(va, 3, 3, PageWritten),
		}
		if p.Policy.GuardMarkers {
			all |= PageGuard
			must(t, m.CPU(1).Run(s))
			must(t, m.CPU(1).Madvise(va+3*page, page, AdviseGuardInstall))
			want = append(want[:3], pagesFrom(va, 3, 1, PageSwapped|PageWritten|PageGuard), pagesFrom(va, 4, 2, PageWritten))
		}
		a := ScanArgs{Start: va, End: va + 6*page, Regions: 16, Return: all}
		r, err := s.PagemapScan(m.CPU(1), a)
		if must(t, err); !slices.Equal(r.Regions, want) {
			t.Errorf("%v, want %v", r.Regions, want)
		}
		a.Inverted, a.Mask = PagePresent, PagePresent|PageSoftDirty
		r, err = s.PagemapScan(m.CPU(1), a)
		if must(t, err); !slices.Equal(r.Regions, want[2:3]) {
			t.Errorf("soft-dirty and not present: %v, want %v", r.Regions, want[2:3])
		}
		a.Inverted, a.Mask, a.AnyOf = 0, 0, PageZero|PageSwapped
		r, err = s.PagemapScan(m.CPU(1), a)
		if must(t, err); !slices.Equal(r.Regions, want[1:len(want)-1]) {
			t.Errorf("zero or swapped: %v, want %v", r.Regions, want[1:len(want)-1])
		}
		migrate.Finish()
	})
}

// TestScanLimits: the scan stops where there is no more room, and protects no page that it does not report.
func TestScanLimits(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		if !p.Policy.UffdWPAsync {
			return // no such call
		}
		_, c, s := checked(t, p)
		va := tracked(t, c, 8)
		const page = x86.PageSize
		must(t, c.Store(va, make([]byte, 8*page)))
		a := ScanArgs{
			Start: va, End: va + 8*page, Flags: ScanWPMatching, Regions: 4, MaxPages: 3, Mask: PageWritten, Return: PageWritten,
		}
		r, err := s.PagemapScan(c, a)
		if must(t, err); r.WalkEnd != va+3*page || !slices.Equal(r.Regions, []Region{pagesFrom(va, 0, 3, PageWritten)}) {
			t.Errorf("three pages: %+v", r)
		}
		expectFlags(t, "the third", s, va+2*page, 0x8400000000000c25)
		expectFlags(t, "the fourth", s, va+3*page, 0x8000000000000867)
		must(t, c.Store(va+page, []byte{1}))
		a.Regions, a.MaxPages = 1, 0
		r, err = s.PagemapScan(c, a)
		if must(t, err); r.WalkEnd != va+3*page || !slices.Equal(r.Regions, []Region{pagesFrom(va, 1, 1, PageWritten)}) {
			t.Errorf("one region: %+v", r)
		}
		a.Regions = 0
		if r, err = s.PagemapScan(c, a); err != nil || len(r.Regions) != 0 || r.WalkEnd != a.End {
			t.Errorf("no answer wanted: %+v %v", r, err)
		}
		expectFlags(t, "all are protected", s, va+7*page, 0x8400000000000c25)
		plain := mapAnonAt(t, c, va-16*page, 1)
		a.Start, a.End, a.Flags = plain, plain+page, ScanCheckWPAsync
		_, err = s.PagemapScan(c, a)
		wantErrno(t, "not tracked", err, ErrPerm)
		a.Start++
		_, err = s.PagemapScan(c, a)
		wantErrno(t, "unaligned", err, ErrInval)
	})
}

// TestScanHoles: what has no page table is written, too, and gets markers.
func TestScanHoles(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		if !p.Policy.UffdWPAsync {
			return // no such call
		}
		m, c, s := checked(t, p)
		n := uint64(3 * x86.EntriesPerTable)
		va := tracked(t, c, n)
		if got, want := scanWritten(t, s, va, n, ScanWPMatching), []Region{pagesFrom(va, 0, n, PageWritten)}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if e := s.pte(va + x86.Virt(n-1)*x86.PageSize); e != m.layout.MakePTEMarker(swapentry.MarkerUffdWP) {
			t.Errorf("the last slot: %#x", e)
		}
		if got := scanWritten(t, s, va, n, 0); len(got) != 0 {
			t.Errorf("nothing was written: %v", got)
		}
	})
}

// TestScanHuge is PAGEMAP_SCAN for huge pages: protected whole, or split where only a part is.
func TestScanHuge(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		if !p.Policy.UffdWPAsync {
			return // no such call
		}
		m, err := New(Config{Profile: p, HugePages: true})
		must(t, err)
		defer m.Close()
		s, err := m.NewSpace()
		must(t, err)
		c := m.CPU(0)
		must(t, c.Run(s))
		const n = x86.EntriesPerTable
		va := mapAnonAt(t, c, 0x40000000, n)
		must(t, c.Store(va, []byte{1}))
		u, err := c.Userfaultfd(UffdWPAsync)
		must(t, err)
		must(t, u.Register(c, va, n*x86.PageSize, UffdWP))
		if _, huge := s.hugePMD(va); !huge {
			t.Fatal("no huge page")
		}
		if got, want := scanWritten(t, s, va, n, ScanWPMatching), []Region{pagesFrom(va, 0, n, PageWritten)}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if e, huge := s.hugePMD(va); !huge || !e.UffdWP() || e.Write(m.abi) {
			t.Errorf("the huge page: %#x", e)
		}
		if got := scanWritten(t, s, va, n, 0); len(got) != 0 {
			t.Errorf("nothing was written: %v", got)
		}
		must(t, u.WriteProtect(c, va, n*x86.PageSize, false))
		if got, want := scanWritten(t, s, va+x86.PageSize, 2, ScanWPMatching), []Region{pagesFrom(va, 1, 2, PageWritten)}; !slices.Equal(got, want) {
			t.Errorf("part: %v, want %v", got, want)
		}
		if e := s.pte(va + x86.PageSize); !e.UffdWP() || s.pte(va).UffdWP() || s.pte(va+3*x86.PageSize).UffdWP() {
			t.Errorf("after the split: %#x", e)
		}
	})
}
