package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// TestMremapMoves: mremap: entries become soft-dirty, frames and write permission stay.
func TestMremapMoves(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 4)
		must(t, c.Store(va, []byte("zero")))
		must(t, c.Store(va+3*x86.PageSize, []byte("three")))
		pfn := s.pte(va).PFN(m.abi)
		to, err := c.Mremap(va, 4*x86.PageSize, 6*x86.PageSize, RemapMayMove|RemapFixed, 0x50000000)
		must(t, err)
		if s.VMA(va) != nil || to != 0x50000000 || s.pte(to).PFN(m.abi) != pfn {
			t.Errorf("moved to %v, entry %#x", to, s.pte(to))
		}
		wantFlags(t, s, to, 0x8000000000000867, "moved")
		must(t, c.Store(to+5*x86.PageSize, []byte("grown")))
		var b [5]byte
		must(t, c.Load(to+3*x86.PageSize, b[:]))
		if string(b[:]) != "three" {
			t.Errorf("it holds %q", b)
		}
		// The reverse map finds the page at its new place.
		must(t, c.MovePages([]x86.Virt{to}, 1, true)[0])
		if s.pte(to).PFN(m.abi) == pfn {
			t.Error("the page cannot be migrated any more")
		}
		_, err = c.Mremap(to, 6*x86.PageSize, x86.PageSize, 0, 0)
		must(t, err)
		if s.VMA(to+x86.PageSize) != nil {
			t.Error("it did not shrink")
		}
	})
}

// TestMadviseDontNeed and guards: zap, KSM, page_mkclean() and guards.
func TestMadvise(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		used := m.ram.Used()
		va := mapAnon(t, c, 4)
		for i := range x86.Virt(4) {
			must(t, c.Store(va+i*x86.PageSize, []byte{byte(i + 1)}))
		}
		must(t, c.Madvise(va+x86.PageSize, x86.PageSize, AdviseDontNeed))
		if e := s.pte(va + x86.PageSize); e != 0 {
			t.Errorf("%#x is left", e)
		}
		var b [1]byte
		must(t, c.Load(va+x86.PageSize, b[:]))
		if b[0] != 0 {
			t.Error("the page came back with its content")
		}
		err := c.Madvise(va, 2*x86.PageSize, AdviseGuardInstall)
		if !m.Policy.GuardMarkers {
			if err == nil {
				t.Error("guards on a kernel without them")
			}
		} else {
			must(t, err)
			if err := c.Load(va, b[:]); err == nil {
				t.Error("a guard page was read")
			}
			must(t, c.Madvise(va, 2*x86.PageSize, AdviseGuardRemove))
			must(t, c.Load(va, b[:]))
		}
		must(t, c.Munmap(va, 4*x86.PageSize))
		if got := m.ram.Used(); got != used {
			t.Errorf("%d frames in use, %d at first", got, used)
		}
	})
}
