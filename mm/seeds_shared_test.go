package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// TestSeedB is sequence S-B, and S-A without its migration: shared memory under write protection.
func TestSeedB(t *testing.T) {
	each(t, func(t *testing.T, p Profile) { testSeedB(t, p, true) })
	t.Run("6.1-", func(t *testing.T) {
		testSeedB(t, historicProfile(t, Linux6_1(), "uffd-wp-without-writenotify"), false)
	})
}

// sharedFile maps a memfd of n pages, registered for write protection; what vm_page_prot is before and after is what
// steps 1 and 3 say.
func sharedFile(t testing.TB, p Profile, n uint64, notify bool) (*CPU, *Uffd, x86.Virt) {
	t.Helper()
	m, c, s := world(t, p)
	va, err := c.Mmap(MmapArgs{
		Length: n * x86.PageSize, Prot: ProtRead | ProtWrite, Flags: MapShared, File: m.MemFD("memfd", n*x86.PageSize),
	})
	must(t, err)
	if got := s.VMA(va).PageProt(); got != 0x8000000000000027 {
		t.Errorf("step 1: vm_page_prot %#x", got)
	}
	must(t, c.Store(va, []byte("first")))
	expectFlags(t, "step 2", s, va, 0x8000000000000867)
	u, err := c.Userfaultfd(0)
	must(t, err)
	must(t, u.Register(c, va, n*x86.PageSize, UffdWP))
	want := x86.Prot(0x8000000000000027)
	if notify {
		want = 0x8000000000000025
	}
	if got := s.VMA(va).PageProt(); got != want {
		t.Errorf("step 3: vm_page_prot %#x, want %#x", got, want)
	}
	must(t, u.WriteProtect(c, va, x86.PageSize, true))
	expectFlags(t, "step 4", s, va, byKernel(p, 0x8000000000000c65, 0x8400000000000c25))
	return c, u, va
}

func testSeedB(t *testing.T, p Profile, notify bool) {
	c, u, va := sharedFile(t, p, 2, notify)
	s := c.space
	pick := func(broken, right, saved uint64) uint64 {
		if !notify {
			return broken
		}
		return byKernel(p, right, saved)
	}
	must(t, c.Mprotect(va, 2*x86.PageSize, ProtNone))
	if got, want := s.pte(va), byKernel(p, 0xd60, 0x0400000000000d20); got.Flags(s.m.abi) != want {
		t.Errorf("step 5: %#x, want flags %#x", got, want)
	}
	must(t, c.Mprotect(va, 2*x86.PageSize, ProtRead|ProtWrite))
	expectFlags(t, "step 6", s, va, pick(0x8000000000000c67, 0x8000000000000c65, 0x8400000000000c25))
	if notify {
		uffdWrite(t, c, va, true)
	} else {
		must(t, c.Store(va, []byte("lost!"))) // step 7: nobody hears of it
	}
	must(t, u.WriteProtect(c, va, x86.PageSize, false))
	expectFlags(t, "step 8", s, va, pick(0x8000000000000867, 0x8000000000000867, 0x8400000000000825))
	pfn := s.pte(va).PFN(s.m.abi)
	must(t, c.Store(va, []byte("again")))
	expectFlags(t, "step 8'", s, va, 0x8000000000000867)
	if got := s.pte(va).PFN(s.m.abi); got != pfn {
		t.Errorf("step 8': frame %#x, was %#x", got, pfn)
	}
	must(t, c.Load(va+x86.PageSize, make([]byte, 1)))
	expectFlags(t, "step 9", s, va+x86.PageSize, pick(0x8000000000000027, 0x8000000000000025, 0x8000000000000025))
	if notify {
		must(t, c.Store(va+x86.PageSize, []byte{1}))
		expectFlags(t, "step 10", s, va+x86.PageSize, 0x8000000000000867)
	}
}

// TestSeedA is sequence S-A: a migration in place of mprotect.
func TestSeedA(t *testing.T) {
	each(t, func(t *testing.T, p Profile) { testSeedA(t, p, true) })
	t.Run("6.1-", func(t *testing.T) {
		testSeedA(t, historicProfile(t, Linux6_1(), "restore-write-from-vm-page-prot"), false)
	})
}

func testSeedA(t *testing.T, p Profile, right bool) {
	c, _, va := sharedFile(t, p, 1, right)
	pfn := c.space.pte(va).PFN(c.m.abi)
	for _, err := range c.MovePages([]x86.Virt{va}, 1, true) {
		must(t, err)
	}
	if got := c.space.pte(va).PFN(c.m.abi); got == pfn {
		t.Fatal("the page has not moved")
	}
	if !right {
		expectFlags(t, "step 6", c.space, va, 0x8000000000000c67)
		must(t, c.Store(va, []byte("lost!")))
		return
	}
	expectFlags(t, "step 6", c.space, va, byKernel(p, 0x8000000000000c65, 0x8400000000000c25))
	uffdWrite(t, c, va, true)
}
