package mm

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// checked is world, with everything looked through at the end of the test.
func checked(t testing.TB, p Profile) (*Machine, *CPU, *Space) {
	t.Helper()
	m, c, s := world(t, p)
	t.Cleanup(func() {
		if err := m.Check(); err != nil {
			t.Errorf("at the end: %v", err)
		}
	})
	return m, c, s
}

// each runs f under every release.
func each(t *testing.T, f func(t *testing.T, p Profile)) {
	for _, p := range Profiles() {
		t.Run(p.Kernel.Release, func(t *testing.T) { f(t, p) })
	}
}

// byKernel picks a worked value: that of 6.1, or that of kernels with saved-dirty.
func byKernel(p Profile, old, new uint64) uint64 {
	if p.Kernel.SavedDirty {
		return new
	}
	return old
}

func expectFlags(t testing.TB, what string, s *Space, va x86.Virt, want uint64) {
	t.Helper()
	if got := flagsOf(s, va); got != want {
		t.Errorf("%s: flags %#x, want %#x", what, got, want)
	}
}

func wantErrno(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// registered returns an area of n pages, registered.
func registered(t testing.TB, c *CPU, n uint64, mode UffdMode, f UffdFeatures) (*Uffd, x86.Virt) {
	t.Helper()
	va := mapAnon(t, c, n)
	u, err := c.Userfaultfd(f)
	must(t, err)
	must(t, u.Register(c, va, n*x86.PageSize, mode))
	return u, va
}

// uffdWrite stores a byte and wants userfaultfd to be asked.
func uffdWrite(t testing.TB, c *CPU, va x86.Virt, wp bool) {
	t.Helper()
	var f *UffdFault
	if err := c.Store(va, []byte{1}); !errors.As(err, &f) || f.WP != wp || !f.Write || f.VA != pageOf(va) {
		t.Errorf("write: %v, want a fault for userfaultfd", err)
	}
}

// TestWriteProtectWorked is worked values of mprotect, rows 5 to 7, and rows 3 to 5 of S-D without the extra reference.
func TestWriteProtectWorked(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		_, c, s := checked(t, p)
		u, va := registered(t, c, 2, UffdWP, 0)
		must(t, c.Store(va, []byte("abc")))
		must(t, u.WriteProtect(c, va, x86.PageSize, true))
		expectFlags(t, "write-protected", s, va, byKernel(p, 0x8000000000000c65, 0x8400000000000c25))
		uffdWrite(t, c, va, true)
		if got := s.pte(va + x86.PageSize); got != 0 {
			t.Errorf("an empty slot of anonymous memory: %#x", got)
		}
		pfn := s.pte(va).PFN(s.m.abi)
		must(t, u.WriteProtect(c, va, x86.PageSize, false))
		expectFlags(t, "resolved, exclusive", s, va, byKernel(p, 0x8000000000000865, 0x8000000000000867))
		must(t, c.Store(va, []byte("x")))
		expectFlags(t, "written", s, va, 0x8000000000000867)
		if got := s.pte(va).PFN(s.m.abi); got != pfn {
			t.Errorf("frame %#x, was %#x", got, pfn)
		}
	})
}

// TestWriteProtectErrors is the callers of change_protection(): which ranges are refused with ENOENT.
func TestWriteProtectErrors(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		_, c, s := checked(t, p)
		va := mapAnon(t, c, 4)
		const page = x86.PageSize
		must(t, c.Store(va, make([]byte, 4*page)))
		u, err := c.Userfaultfd(0)
		must(t, err)
		wantErrno(t, "not registered", u.WriteProtect(c, va, page, true), ErrNoEnt)
		must(t, u.Register(c, va, page, UffdWP))
		must(t, u.Register(c, va+page, page, UffdWP|UffdMissing))
		if n := len(s.VMAs()); n != 3 {
			t.Fatalf("%d areas", n)
		}
		wantErrno(t, "unaligned", u.WriteProtect(c, va+1, page, true), ErrInval)
		wantErrno(t, "no length", u.WriteProtect(c, va, 0, true), ErrInval)
		err = u.WriteProtect(c, va, 2*page, true)
		if p.Policy.UffdWPOneArea {
			wantErrno(t, "two areas", err, ErrNoEnt)
			expectFlags(t, "two areas", s, va, 0x8000000000000867)
			return
		}
		must(t, err)
		must(t, u.WriteProtect(c, va, 2*page, false))
		wantErrno(t, "the third is not registered", u.WriteProtect(c, va, 3*page, true), ErrNoEnt)
		expectFlags(t, "the first stays changed", s, va, 0x8400000000000c25)
		expectFlags(t, "the third is not changed", s, va+2*page, 0x8000000000000867)
		must(t, c.Munmap(va+page, page))
		must(t, u.WriteProtect(c, va, 2*page, false)) // holes are passed over
		wantErrno(t, "only a hole", u.WriteProtect(c, va+page, page, true), ErrNoEnt)
	})
}

// TestRegister: what may be registered, and how areas are split and merged.
func TestRegister(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		const page = x86.PageSize
		va := mapAnon(t, c, 4)
		must(t, c.Store(va, make([]byte, 4*page)))
		u, err := c.Userfaultfd(0)
		must(t, err)
		wantErrno(t, "no mode", u.Register(c, va, page, 0), ErrInval)
		above := ErrInval
		if p.Kernel.Release == "6.1" {
			above = ErrNoMem
		}
		wantErrno(t, "above all areas", u.Register(c, va+4*page, page, UffdWP), above)
		wantErrno(t, "no area", u.Register(c, va-page, page, UffdWP), ErrInval)
		must(t, u.Register(c, va+page, 2*page, UffdWP))
		if n := len(s.VMAs()); n != 3 {
			t.Errorf("%d areas after registering the middle", n)
		}
		other, err := c.Userfaultfd(0)
		must(t, err)
		wantErrno(t, "registered already", other.Register(c, va, 4*page, UffdWP), ErrBusy)
		if v := s.VMA(va); v.flags&vmUffd != 0 {
			t.Error("a refused call has changed an area")
		}
		must(t, u.WriteProtect(c, va+page, 2*page, true))
		must(t, u.Unregister(c, va+page, page))
		expectFlags(t, "unregistered", s, va+page, byKernel(p, 0x8000000000000865, 0x8000000000000867))
		expectFlags(t, "still registered", s, va+2*page, byKernel(p, 0x8000000000000c65, 0x8400000000000c25))
		if v := s.VMA(va); v.End != va+2*page {
			t.Errorf("the area ends at %v", v.End)
		}
		must(t, u.Close(c))
		if n := len(s.VMAs()); n != 1 {
			t.Errorf("%d areas at the end", n)
		}
		must(t, c.Store(va+2*page, []byte{1}))
		wantErrno(t, "closed", u.Register(c, va, page, UffdWP), ErrInval)
		_, err = c.Userfaultfd(UffdWPUnpopulated)
		if has := err == nil; has != m.Policy.UffdWPUnpopulated {
			t.Errorf("WP_UNPOPULATED: %v", err)
		}
	})
}

// TestUffdCopies is do_anonymous_page(), last row, and section 13: the fault stores nothing, COPY installs.
func TestUffdCopies(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		used := m.ram.Used()
		u, va := registered(t, c, 4, UffdMissing|UffdWP, 0)
		uffdWrite(t, c, va, false)
		var f *UffdFault
		if err := c.Load(va, make([]byte, 1)); !errors.As(err, &f) || f.WP || f.Write || f.Uffd != u {
			t.Errorf("read: %v", err)
		}
		if got := s.pte(va); got != 0 {
			t.Errorf("the fault stored %#x", got)
		}
		data := make([]byte, 2*x86.PageSize)
		copy(data, "filled")
		n, err := u.Copy(c, va, data, false)
		if must(t, err); n != len(data) {
			t.Errorf("%d bytes filled", n)
		}
		expectFlags(t, "COPY", s, va, 0x8000000000000867)
		var b [6]byte
		if must(t, c.Load(va, b[:])); string(b[:]) != "filled" {
			t.Errorf("read %q", b)
		}
		pfn := s.pte(va).PFN(m.abi)
		if f := m.folio(pfn); f.ref != 1 || m.mapcount(pfn) != 1 || !m.exclusive(pfn) || !m.anonPage(pfn) {
			t.Errorf("the page: %+v", *f)
		}
		n, err = u.Copy(c, va+x86.PageSize, data, false)
		if wantErrno(t, "occupied", err, ErrExist); n != 0 {
			t.Errorf("%d bytes filled", n)
		}
		_, err = u.Copy(c, va+2*x86.PageSize, data[:x86.PageSize], true)
		must(t, err)
		expectFlags(t, "COPY with WP", s, va+2*x86.PageSize, byKernel(p, 0x8000000000000c65, 0x8400000000000c25))
		uffdWrite(t, c, va+2*x86.PageSize, true)
		_, err = u.ZeroPage(c, va+3*x86.PageSize, x86.PageSize)
		must(t, err)
		if e := s.pte(va + 3*x86.PageSize); e.PFN(m.abi) != m.zero || e.Flags(m.abi) != 0x8000000000000225 {
			t.Errorf("ZEROPAGE: %#x", e)
		}
		_, err = u.ZeroPage(c, va+3*x86.PageSize, x86.PageSize)
		wantErrno(t, "ZEROPAGE again", err, ErrExist)
		must(t, c.Munmap(va, 4*x86.PageSize))
		_, err = u.Copy(c, va, data, false)
		wantErrno(t, "no area", err, ErrNoEnt)
		if got := m.ram.Used(); got != used {
			t.Errorf("%d frames in use, %d at first", got, used)
		}
	})
}

// TestUffdMarkers is do_swap_page(), entries that are not swap (markers) and section 13 (target test): WP_UNPOPULATED, POISON.
func TestUffdMarkers(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		if !p.Policy.UffdWPUnpopulated {
			u, va := registered(t, c, 1, UffdMissing, 0)
			_, err := u.Poison(c, va, x86.PageSize)
			wantErrno(t, "no such call", err, ErrInval)
			return
		}
		u, va := registered(t, c, 4, UffdWP, UffdWPUnpopulated)
		const page = x86.PageSize
		must(t, u.WriteProtect(c, va, 4*page, true))
		marker := m.layout.MakePTEMarker(swapentry.MarkerUffdWP)
		if e := s.pte(va); e != marker {
			t.Fatalf("an empty slot: %#x", e)
		}
		must(t, c.Load(va, make([]byte, 1)))
		expectFlags(t, "read", s, va, 0x8000000000000625)
		uffdWrite(t, c, va, true)
		uffdWrite(t, c, va+page, true)
		_, err := u.ZeroPage(c, va+2*page, page)
		wantErrno(t, "ZEROPAGE on a marker", err, ErrExist)
		_, err = u.Poison(c, va+2*page, page)
		wantErrno(t, "POISON on a marker", err, ErrExist)
		_, err = u.Copy(c, va+2*page, make([]byte, page), false)
		must(t, err)
		expectFlags(t, "COPY on a marker", s, va+2*page, 0x8000000000000867)
		must(t, u.WriteProtect(c, va, 4*page, false))
		expectFlags(t, "zero page resolved", s, va, 0x8000000000000225)
		if e := s.pte(va + 3*page); e != 0 {
			t.Errorf("a marker resolved: %#x", e)
		}
		_, err = u.Poison(c, va+3*page, page)
		must(t, err)
		var a *AccessError
		if err := c.Load(va+3*page, make([]byte, 1)); !errors.As(err, &a) || a.Signal != BusHWPoison {
			t.Errorf("poisoned: %v", err)
		}
		_, err = u.Copy(c, va+3*page, make([]byte, page), false)
		must(t, err)
		if p.Policy.GuardMarkers {
			must(t, c.Munmap(va, page))
			va = mapAnon(t, c, 1)
			must(t, u.Register(c, va, page, UffdWP))
			must(t, c.Madvise(va, page, AdviseGuardInstall))
			_, err = u.Copy(c, va, make([]byte, page), false)
			wantErrno(t, "COPY on a guard", err, ErrExist)
		}
	})
}

// TestUffdSigbusAndAsync: the features that keep accesses from waiting.
func TestUffdSigbusAndAsync(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		_, c, s := checked(t, p)
		_, va := registered(t, c, 1, UffdMissing, UffdSigbus)
		var a *AccessError
		if err := c.Load(va, make([]byte, 1)); !errors.As(err, &a) || a.Signal != BusAdrErr {
			t.Errorf("SIGBUS: %v", err)
		}
		if !p.Policy.UffdWPAsync {
			return
		}
		u, va := registered(t, c, 1, UffdWP, UffdWPAsync)
		must(t, c.Store(va, []byte{1}))
		must(t, u.WriteProtect(c, va, x86.PageSize, true))
		must(t, c.Store(va, []byte{2}))
		expectFlags(t, "written", s, va, 0x8000000000000867)
	})
}

// TestUffdFork is copy_page_range(): the child's area keeps its userfaultfd with fork events only.
func TestUffdFork(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		for _, f := range []UffdFeatures{0, UffdEventFork} {
			_, c, s := checked(t, p)
			u, va := registered(t, c, 2, UffdWP, f)
			must(t, c.Store(va, make([]byte, 2*x86.PageSize)))
			must(t, u.WriteProtect(c, va, x86.PageSize, true))
			child, err := c.Fork()
			must(t, err)
			expectFlags(t, "parent", s, va, byKernel(p, 0x8000000000000c65, 0x8400000000000c25))
			v := child.VMA(va)
			if f == 0 {
				expectFlags(t, "child", child, va, byKernel(p, 0x8000000000000845, 0x8400000000000805))
				if v.flags&vmUffd != 0 || v.uffd != nil || len(u.Forked()) != 0 {
					t.Error("the child is registered")
				}
				continue
			}
			expectFlags(t, "child", child, va, byKernel(p, 0x8000000000000c45, 0x8400000000000c05))
			if len(u.Forked()) != 1 || v.uffd != u.Forked()[0] || v.uffd == u || u.Forked()[0].Space() != child {
				t.Error("the child has no userfaultfd of its own")
			}
			must(t, u.Forked()[0].WriteProtect(c, va, x86.PageSize, false))
			expectFlags(t, "child, resolved", child, va, byKernel(p, 0x8000000000000845, 0x8400000000000805))
			child.Exit(c)
			wantErrno(t, "exited", u.Forked()[0].WriteProtect(c, va, x86.PageSize, false), ErrSrch)
		}
	})
}

// TestCopyLosesRace: another monitor fills the slot while COPY has its page ready.
func TestCopyLosesRace(t *testing.T) {
	each(t, func(t *testing.T, p Profile) {
		m, c, s := checked(t, p)
		u, va := registered(t, c, 1, UffdMissing, 0)
		data := make([]byte, x86.PageSize)
		var err error
		late := m.Go(c, func() { _, err = u.Copy(c, va, data, false) })
		if !late.RunTo(PointUffdCopied) {
			t.Fatal("nothing was copied")
		}
		copy(data, "first")
		_, first := u.Copy(m.CPU(1), va, data, false)
		must(t, first)
		pfn, used := s.pte(va).PFN(m.abi), m.ram.Used()
		late.Finish()
		wantErrno(t, "the late one", err, ErrExist)
		if s.pte(va).PFN(m.abi) != pfn || m.ram.Used() != used-1 {
			t.Error("the late page is not given back")
		}
		text(t, c, va, "first")
	})
}
