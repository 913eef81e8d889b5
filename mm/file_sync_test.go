package mm

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
)

// TestMkClean: KSM, page_mkclean() and guards, page_mkclean: D and RW go, SOFT_DIRTY stays, processors are told; the next write
// faults again, and the page is dirty again. Private mappings are left alone.
func TestMkClean(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := disk(t, m, 1)
		a, b := mapFile(t, c, f, MapShared, 0, 1), mapFile(t, d, f, MapShared, 0, 1)
		p := mapFile(t, d, f, 0, 0, 1)
		must(t, c.Store(a, []byte{1}))
		must(t, d.Store(b, []byte{2}))
		must(t, d.Store(p, []byte{3}))
		pfn, _ := f.Cached(0)
		if m.folio(pfn).flags&pgDirty == 0 {
			t.Error("not dirty")
		}
		must(t, c.Msync(a, x86.PageSize))
		wantFlags(t, c.space, a, 0x8000000000000825, "written back")
		wantFlags(t, d.space, b, 0x8000000000000825, "written back, the other process")
		wantFlags(t, d.space, p, 0x8000000000000867, "written back, private")
		if m.folio(pfn).flags&pgDirty != 0 || f.store[0][0] != 2 {
			t.Errorf("flags %#x, the disk has %d", m.folio(pfn).flags, f.store[0][0])
		}
		if n := faults(m, func() { must(t, d.Store(b, []byte{4})) }); n != 1 {
			t.Errorf("%d faults", n)
		}
		wantFlags(t, d.space, b, 0x8000000000000867, "written again")
		wantFlags(t, c.space, a, 0x8000000000000825, "written again by the other")
		if m.folio(pfn).flags&pgDirty == 0 || f.store[0][0] != 2 {
			t.Error("the page is not dirty again")
		}
		f.Sync()
		f.Sync() // clean pages are not looked at
		if f.store[0][0] != 4 {
			t.Errorf("the disk has %d", f.store[0][0])
		}
	})
}

// TestMsync: ranges and holes; files without a disk keep their pages dirty and writable.
func TestMsync(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f, s := disk(t, m, 3), m.MemFD("memfd", x86.PageSize)
		a, b := mapFile(t, c, f, MapShared, 0, 3), mapFile(t, c, s, MapShared, 0, 1)
		for i := range x86.Virt(3) {
			must(t, c.Store(a+i*x86.PageSize, []byte{1}))
		}
		must(t, c.Store(b, []byte{1}))
		must(t, c.Msync(a+x86.PageSize, x86.PageSize))
		must(t, c.Msync(b, x86.PageSize))
		for i, want := range []uint64{0x8000000000000867, 0x8000000000000825, 0x8000000000000867} {
			wantFlags(t, c.space, a+x86.Virt(i)*x86.PageSize, want, "msync of the second page")
		}
		wantFlags(t, c.space, b, 0x8000000000000867, "memfd")
		must(t, c.Munmap(a+x86.PageSize, x86.PageSize))
		if err := c.Msync(a, 3*x86.PageSize); !errors.Is(err, ErrNoMem) {
			t.Errorf("with a hole: %v", err)
		}
		wantFlags(t, c.space, a+2*x86.PageSize, 0x8000000000000825, "behind the hole")
		if err := c.Msync(a+1, 1); !errors.Is(err, ErrInval) {
			t.Errorf("in the middle of a page: %v", err)
		}
	})
}

// TestReclaimFile: try_to_unmap_one(): entries of file pages become none, or a marker where they were uffd-wp. What
// was on the disk is read again.
func TestReclaimFile(t *testing.T) {
	eachFile(t, func(t *testing.T, m *Machine, c, d *CPU) {
		f := disk(t, m, 1)
		va := mapFile(t, c, f, MapShared, 0, 1)
		must(t, c.Store(va, []byte{5}))
		f.Sync()
		pfn, _ := f.Cached(0)
		free, err := m.Reclaim(c, pfn)
		if e := c.space.pte(va); !free || err != nil || !e.None() {
			t.Errorf("%v, %v: %#x", free, err, e)
		}
		if _, ok := f.Cached(0); ok || load(t, c, va) != 5 {
			t.Error("not read again")
		}
		wantFlags(t, c.space, va, 0x8000000000000025, "read again")

		s := m.MemFD("memfd", x86.PageSize)
		wp := mapFile(t, c, s, MapShared, 0, 1)
		must(t, c.Store(wp, []byte{6}))
		u, err := c.Userfaultfd(0)
		must(t, err)
		must(t, u.Register(c, wp, x86.PageSize, UffdWP))
		must(t, u.WriteProtect(c, wp, x86.PageSize, true))
		pfn, _ = s.Cached(0)
		if free, err := m.Reclaim(c, pfn); !free || err != nil {
			t.Errorf("memfd: %v, %v", free, err)
		}
		if e := c.space.pte(wp); !m.layout.PTEUffdWPMarker(e) {
			t.Errorf("memfd: %#x", e)
		}
		if load(t, c, wp) != 6 {
			t.Error("lost in swap")
		}
		wantFlags(t, c.space, wp, 0x8000000000000425, "from swap, marked")
		must(t, u.Close(c))
	})
}
