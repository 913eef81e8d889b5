package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// flagsOf returns an entry without its frame, as the worked values of the specification are compared.
func flagsOf(s *Space, va x86.Virt) uint64 { return s.pte(va).Flags(s.m.abi) }

// world is a machine with one process on CPU 0.
func world(t testing.TB, p Profile) (*Machine, *CPU, *Space) {
	t.Helper()
	m, err := New(Config{Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	s, err := m.NewSpace()
	if err != nil {
		t.Fatal(err)
	}
	c := m.CPU(0)
	must(t, c.Run(s))
	return m, c, s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mapAnon(t testing.TB, c *CPU, pages uint64) x86.Virt {
	t.Helper()
	va, err := c.Mmap(MmapArgs{Length: pages * x86.PageSize, Prot: ProtRead | ProtWrite})
	must(t, err)
	return va
}

// TestForkCOW is steps 1, 2 and 5 of sequence S-C.
func TestForkCOW(t *testing.T) {
	for _, p := range Profiles() {
		t.Run(p.Kernel.Release, func(t *testing.T) {
			m, c, s := world(t, p)
			used := m.ram.Used()
			va := mapAnon(t, c, 1)
			must(t, c.Store(va, []byte("parent")))
			child, err := c.Fork()
			must(t, err)
			wantParent, wantChild := uint64(0x8000000000000865), uint64(0x8000000000000845)
			if m.kernel.SavedDirty {
				wantParent, wantChild = 0x8400000000000825, 0x8400000000000805
			}
			if a, b := flagsOf(s, va), flagsOf(child, va); a != wantParent || b != wantChild {
				t.Errorf("after fork %#x and %#x, want %#x and %#x", a, b, wantParent, wantChild)
			}
			must(t, c.Store(va, []byte("PARENT")))
			if got := flagsOf(s, va); got != 0x8000000000000867 {
				t.Errorf("after the parent's write %#x", got)
			}
			d := m.CPU(1)
			must(t, d.Run(child))
			var b [6]byte
			must(t, d.Load(va, b[:]))
			if string(b[:]) != "parent" {
				t.Errorf("the child reads %q", b)
			}
			pfn := child.pte(va).PFN(m.abi)
			must(t, d.Store(va, []byte("child!")))
			if got := child.pte(va); got.PFN(m.abi) != pfn || got.Flags(m.abi) != 0x8000000000000867 {
				t.Errorf("the child's write, which has the page alone: %#x", got)
			}
			child.Exit(d)
			must(t, c.Munmap(va, x86.PageSize))
			if got := m.ram.Used(); got != used {
				t.Errorf("%d frames in use, %d at first", got, used)
			}
		})
	}
}

// TestMprotectWorked is worked values of mprotect, rows 1 to 3, and the result table of section 5.
func TestMprotectWorked(t *testing.T) {
	for _, p := range Profiles() {
		t.Run(p.Kernel.Release, func(t *testing.T) {
			m, c, s := world(t, p)
			va := mapAnon(t, c, 1)
			must(t, c.Store(va, []byte{1}))
			pick := func(old, new uint64) uint64 {
				if m.kernel.SavedDirty {
					return new
				}
				return old
			}
			for _, step := range []struct {
				prot Prot
				want uint64
			}{
				{ProtRead, pick(0x8000000000000865, 0x8400000000000825)},
				{ProtRead | ProtWrite, 0x8000000000000867},
				{ProtNone, pick(0x8000000000000960, 0x8400000000000920) &^ (1 << 63)},
				{ProtRead | ProtWrite, 0x8000000000000867},
			} {
				must(t, c.Mprotect(va, x86.PageSize, step.prot))
				e := s.pte(va)
				got := e.Flags(m.abi)
				if got != step.want {
					t.Errorf("mprotect to %d: %#x, want %#x", step.prot, got, step.want)
				}
			}
		})
	}
}
