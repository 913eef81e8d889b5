package mm

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/thp"
)

const hugeSize = thp.Pages * x86.PageSize

// mapHuge maps n huge pages' worth of memory, aligned, with MADV_HUGEPAGE.
func mapHuge(t testing.TB, c *CPU, n uint64) x86.Virt {
	t.Helper()
	va, err := c.Mmap(MmapArgs{Addr: 0x40000000, Length: n * hugeSize, Prot: ProtRead | ProtWrite, Flags: MapFixed})
	must(t, err)
	must(t, c.Madvise(va, n*hugeSize, AdviseHugePage))
	return va
}

func pmdFlags(t testing.TB, s *Space, va x86.Virt) uint64 {
	t.Helper()
	e, ok := s.hugePMD(va)
	if !ok {
		t.Fatalf("no huge page at %v", va)
	}
	return e.Flags(s.m.abi)
}

// TestHugeFaults: faults of huge pages: first touch by a read and by a write, the write to the huge zero page.
func TestHugeFaults(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapHuge(t, c, 2)
		var b [1]byte
		must(t, c.Load(va+hugeSize, b[:]))
		zero := uint64(0x80000000000000a5)
		if m.kernel.HugeZeroSpecial {
			zero = 0x80000000000002a5
		}
		if got := pmdFlags(t, s, va+hugeSize); got != zero {
			t.Errorf("huge zero page %#x, want %#x", got, zero)
		}
		must(t, c.Store(va+hugeSize/2, []byte{7}))
		if got := pmdFlags(t, s, va); got != 0x80000000000008e7 {
			t.Errorf("written huge page %#x", got)
		}
		must(t, c.Store(va+hugeSize, []byte{1}))
		if _, huge := s.hugePMD(va + hugeSize); huge != m.Policy.HugeZeroWPAllocs {
			t.Errorf("after a write to the huge zero page: huge %v", huge)
		}
		must(t, c.Munmap(va, 2*hugeSize))
		if got := m.ram.Used(); got != used+512 { // the huge zero page stays
			t.Errorf("%d frames in use, %d at first", got, used)
		}
	})
}

// TestHugeForkAndWrite: faults of huge pages, copy_page_range(): a huge page shared by fork is split by the first write, and taken
// when it is the last user's.
func TestHugeForkAndWrite(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapHuge(t, c, 1)
		must(t, c.Store(va+5*x86.PageSize, []byte("parent")))
		child, err := c.Fork()
		must(t, err)
		ro := pick(m, uint64(0x80000000000008e5), 0x84000000000008a5)
		if a, b := pmdFlags(t, s, va), pmdFlags(t, child, va); a != ro || b != ro&^0x20 {
			t.Errorf("after fork %#x and %#x, want %#x", a, b, ro)
		}
		must(t, c.Store(va+5*x86.PageSize, []byte("PARENT")))
		if _, huge := s.hugePMD(va); huge {
			t.Error("the write did not split the page")
		}
		d := m.CPU(1)
		must(t, d.Run(child))
		var b [6]byte
		must(t, d.Load(va+5*x86.PageSize, b[:]))
		if string(b[:]) != "parent" {
			t.Errorf("the child reads %q", b)
		}
		s.Exit(c)
		must(t, d.Store(va+5*x86.PageSize, []byte("child!")))
		if got := pmdFlags(t, child, va); got != 0x80000000000008e7 {
			t.Errorf("the last user's write: %#x", got)
		}
	})
}

// TestHugeSplitByProtect: __split_huge_pmd_locked(), "present, no freeze": a partial mprotect splits, contents stay.
func TestHugeSplitByProtect(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapHuge(t, c, 1)
		must(t, c.Store(va, []byte("first")))
		must(t, c.Store(va+511*x86.PageSize, []byte("last")))
		must(t, c.Mprotect(va, x86.PageSize, ProtRead))
		wantFlags(t, s, va+x86.PageSize, pick(m, uint64(0x8000000000000827), 0x8000000000000867), "a page that was not protected")
		var b [4]byte
		must(t, c.Load(va+511*x86.PageSize, b[:]))
		if string(b[:]) != "last" {
			t.Errorf("it holds %q", b)
		}
		if err := c.Store(va, b[:]); err == nil {
			t.Error("a store to a read-only page was made")
		}
		pfn := s.pte(va).PFN(m.abi)
		if f := m.folio(pfn); f.ref != 512 || m.mapcount(pfn) != 512 || f.flags&pgDirty == 0 {
			t.Errorf("folio %+v", *f)
		}
		// Collapsing puts a new huge page in their place.
		must(t, c.Mprotect(va, x86.PageSize, ProtRead|ProtWrite))
		must(t, c.Madvise(va, hugeSize, AdviseCollapse))
		if got := pmdFlags(t, s, va); got != 0x80000000000008e7 {
			t.Errorf("collapsed %#x", got)
		}
		must(t, c.Load(va+511*x86.PageSize, b[:]))
		if string(b[:]) != "last" {
			t.Errorf("after the collapse it holds %q", b)
		}
	})
}

// TestHugeMigrates: migration of PMDs, through move_pages.
func TestHugeMigrates(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapHuge(t, c, 1)
		must(t, c.Store(va+3*x86.PageSize, []byte("moved")))
		old, _ := s.hugePMD(va)
		must(t, c.MovePages([]x86.Virt{va}, 1, true)[0])
		now, _ := s.hugePMD(va)
		if now.PFN(m.abi) == old.PFN(m.abi) || now.Flags(m.abi) != 0x80000000000008e7 {
			t.Errorf("%#x became %#x", old, now)
		}
		var b [5]byte
		must(t, c.Load(va+3*x86.PageSize, b[:]))
		if string(b[:]) != "moved" {
			t.Errorf("it holds %q", b)
		}
	})
}
