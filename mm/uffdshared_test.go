package mm

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// uffdFile maps a memfd of n pages, and registers it.
func uffdFile(t testing.TB, c *CPU, n uint64, flags MapFlags, mode UffdMode) (*Uffd, x86.Virt, *File) {
	t.Helper()
	f := c.m.MemFD("memfd", n*x86.PageSize)
	va, err := c.Mmap(MmapArgs{Length: n * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: flags, File: f})
	must(t, err)
	u, err := c.Userfaultfd(0)
	must(t, err)
	must(t, u.Register(c, va, n*x86.PageSize, mode))
	return u, va, f
}

// TestUffdShared is what userfaultfd installs for shared memory: what is installed is in the page cache.
func TestUffdShared(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		const page = x86.PageSize
		u, va, f := uffdFile(t, c, 6, MapShared, UffdMissing)
		uffdWrite(t, c, va, false)
		data := make([]byte, page)
		copy(data, "filled")
		_, err := u.Copy(c, va, data, false)
		must(t, err)
		expectFlags(t, "COPY", s, va, 0x8000000000000867)
		pfn, ok := f.Cached(0)
		if !ok || pfn != s.pte(va).PFN(m.abi) || m.folio(pfn).ref != 2 || m.mapcount(pfn) != 1 || m.anonPage(pfn) {
			t.Errorf("the page %#x: %+v", uint64(pfn), *m.folio(pfn))
		}
		_, err = u.ZeroPage(c, va+page, page)
		must(t, err)
		expectFlags(t, "ZEROPAGE", s, va+page, 0x8000000000000867)
		if pfn := s.pte(va + page).PFN(m.abi); pfn == m.zero {
			t.Error("ZEROPAGE has mapped the zero page")
		}
		_, err = u.Continue(c, va+2*page, page, false)
		wantErrno(t, "CONTINUE without a page", err, ErrFault)
		if _, err := f.WriteAt([]byte("there"), 2*page); err != nil {
			t.Fatal(err)
		}
		_, err = u.Copy(c, va+2*page, data, false)
		wantErrno(t, "COPY where the cache has a page", err, ErrExist)
		_, err = u.Continue(c, va+2*page, page, false)
		must(t, err)
		expectFlags(t, "CONTINUE", s, va+2*page, 0x8000000000000867)
		text(t, c, va+2*page, "there")
		must(t, f.Truncate(c, 5*page))
		_, err = u.Copy(c, va+5*page, data, false)
		behind := ErrFault
		if m.Policy.UffdCopyEndNoMem {
			behind = ErrNoMem
		}
		wantErrno(t, "behind the end", err, behind)
		_, err = u.Copy(c, va+3*page, data, true)
		wantErrno(t, "WP of an area that is not registered for it", err, ErrInval)
	})
}

// TestUffdSharedWP: with write protection what COPY installs is dirty and not writable, and empty slots get markers.
func TestUffdSharedWP(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		const page = x86.PageSize
		u, va, _ := uffdFile(t, c, 3, MapShared, UffdWP)
		_, err := u.Copy(c, va, make([]byte, page), true)
		must(t, err)
		expectFlags(t, "COPY with WP", s, va, byKernel(p, 0x8000000000000c65, 0x8400000000000c25))
		must(t, u.WriteProtect(c, va+page, page, true))
		marker := m.layout.MakePTEMarker(swapentry.MarkerUffdWP)
		if e := s.pte(va + page); e != marker {
			t.Errorf("an empty slot: %#x", e)
		}
		_, err = u.ZeroPage(c, va+page, page)
		must(t, err) // of shared memory, a page like that of COPY
		expectFlags(t, "ZEROPAGE on a marker", s, va+page, 0x8000000000000867)
		must(t, u.WriteProtect(c, va+page, page, true))
		must(t, c.Madvise(va+page, page, AdviseDontNeed))
		if e := s.pte(va + page); e != marker {
			t.Errorf("zapped: %#x", e)
		}
		must(t, u.Unregister(c, va, 3*page))
		if e := s.pte(va + page); e != 0 {
			t.Errorf("a marker after unregistering: %#x", e)
		}
		if got := s.VMA(va).PageProt(); got != 0x8000000000000027 {
			t.Errorf("vm_page_prot %#x after unregistering", got)
		}
		expectFlags(t, "unregistered", s, va, byKernel(p, 0x8000000000000867, 0x8400000000000825))
	})
}

// TestUffdPrivateFile: in a private mapping of shared memory COPY makes anonymous pages, and CONTINUE maps read-only.
func TestUffdPrivateFile(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		const page = x86.PageSize
		u, va, f := uffdFile(t, c, 3, 0, UffdMissing)
		_, err := u.Copy(c, va, make([]byte, page), false)
		must(t, err)
		expectFlags(t, "COPY", s, va, 0x8000000000000867)
		if pfn := s.pte(va).PFN(m.abi); !m.anonPage(pfn) || !m.exclusive(pfn) {
			t.Error("COPY has not made an anonymous page")
		}
		if _, ok := f.Cached(0); ok {
			t.Error("COPY has filled the page cache")
		}
		if _, err := f.WriteAt([]byte("there"), page); err != nil {
			t.Fatal(err)
		}
		_, err = u.Continue(c, va+page, page, false)
		must(t, err)
		expectFlags(t, "CONTINUE", s, va+page, byKernel(p, 0x8000000000000865, 0x8400000000000825))
		_, err = u.ZeroPage(c, va+2*page, page)
		must(t, err)
		expectFlags(t, "ZEROPAGE", s, va+2*page, 0x8000000000000225)
	})
}

// TestUffdMove is what userfaultfd installs, row MOVE.
func TestUffdMove(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		const page = x86.PageSize
		u, dst := registered(t, c, 6, UffdMissing, 0)
		src := mapAnonAt(t, c, dst-64*page, 6)
		if !p.Policy.UffdMove {
			_, err := u.Move(c, dst, src, page, false)
			wantErrno(t, "no such call", err, ErrInval)
			return
		}
		must(t, c.Store(src, []byte("moved")))
		must(t, c.Load(src+page, make([]byte, 1)))
		must(t, s.ClearRefs(c, ClearRefsSoftDirty))
		must(t, c.Mprotect(src, page, ProtRead)) // and back: write-protected, soft-dirty reset
		must(t, c.Mprotect(src, page, ProtRead|ProtWrite))
		text(t, c, src, "moved") // cached now
		pfn := s.pte(src).PFN(m.abi)
		n, err := u.Move(c, dst, src, 3*page, false)
		if wantErrno(t, "a hole in the source, after pages", err, ErrAgain); n != 2*page {
			t.Errorf("%d bytes moved", n)
		}
		if e := s.pte(dst); e.PFN(m.abi) != pfn || e.Flags(m.abi) != 0x8000000000000867 {
			t.Errorf("the page: %#x", e)
		}
		if e := s.pte(dst + page); e.PFN(m.abi) != m.zero || e.Flags(m.abi) != 0x8000000000000225 {
			t.Errorf("the zero page: %#x", e)
		}
		if s.pte(src) != 0 || s.pte(src+page) != 0 {
			t.Error("the source still maps something")
		}
		text(t, c, dst, "moved")
		text(t, c, src, "\x00") // no processor has the old place cached
		if n, err = u.Move(c, dst+2*page, src+2*page, page, true); err != nil || n != page {
			t.Errorf("with holes allowed: %d, %v", n, err)
		}
		must(t, c.Store(src, []byte{1}))
		_, err = u.Move(c, dst, src, page, false)
		wantErrno(t, "occupied", err, ErrExist)
		held, err := c.GetPages(src, 1, GUPPin)
		must(t, err)
		_, err = u.Move(c, dst+3*page, src, page, false)
		wantErrno(t, "pinned", err, ErrBusy)
		held.Put()
		if _, err = c.Fork(); err != nil {
			t.Fatal(err)
		}
		_, err = u.Move(c, dst+3*page, src, page, false)
		wantErrno(t, "not exclusive", err, ErrBusy)
		must(t, c.Mprotect(src, page, ProtRead))
		_, err = u.Move(c, dst+3*page, src, page, false)
		wantErrno(t, "not alike", err, ErrInval)
		_, err = u.Move(c, src, dst, page, false)
		wantErrno(t, "a target that is not registered", err, ErrInval)
	})
}

// TestUffdMoveHuge is the same row for huge pages, and for the huge zero page.
func TestUffdMoveHuge(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		if !p.Policy.UffdMove {
			return // TestUffdMove has seen that it is refused
		}
		m, err := New(Config{Profile: p, HugePages: true})
		must(t, err)
		defer m.Close()
		s, err := m.NewSpace()
		must(t, err)
		c := m.CPU(0)
		must(t, c.Run(s))
		const size = x86.EntriesPerTable * x86.PageSize
		src, dst := mapAnonAt(t, c, 0x40000000, 2*size/x86.PageSize), mapAnonAt(t, c, 0x50000000, 4*size/x86.PageSize)
		u, err := c.Userfaultfd(0)
		must(t, err)
		must(t, u.Register(c, dst, 4*size, UffdMissing))
		must(t, c.Store(src, []byte("huge")))
		must(t, c.Load(src+size, make([]byte, 1)))
		_, err = u.Move(c, dst, src, 2*size, false)
		must(t, err)
		e, _ := s.hugePMD(dst)
		if got := e.Flags(m.abi); got != 0x80000000000008e7 {
			t.Errorf("the huge page: %#x", e)
		}
		zero, _ := s.hugePMD(dst + size)
		want := uint64(0x80000000000000a5)
		if p.Kernel.HugeZeroSpecial {
			want = 0x8000000000000aa5 // as it was, soft-dirty now
		}
		if got := zero.Flags(m.abi); got != want || zero.PFN(m.abi) != m.huge {
			t.Errorf("the huge zero page: %#x, want flags %#x", zero, want)
		}
		text(t, c, dst, "huge")
		must(t, m.Check())
		// Only a part: the huge page is split, and so is its folio.
		third := dst + 2*size + x86.PageSize
		must(t, c.Store(src, []byte("again")))
		_, err = u.Move(c, third, src, x86.PageSize, false)
		must(t, err)
		text(t, c, third, "again")
		expectFlags(t, "one page of a huge one", s, third, 0x8000000000000867)
		must(t, m.Check())
	})
}
