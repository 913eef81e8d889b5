package mm

import (
	"testing"

	"ptemu/arch/x86"
)

// pick chooses between what 6.1 and what later releases do.
func pick[T any](m *Machine, old, new T) T {
	if m.kernel.SavedDirty {
		return new
	}
	return old
}

func eachProfile(t *testing.T, f func(t *testing.T, m *Machine, c *CPU, s *Space)) {
	for _, p := range Profiles() {
		t.Run(p.Kernel.Release, func(t *testing.T) {
			m, c, s := world(t, p)
			f(t, m, c, s)
		})
	}
}

func wantFlags(t *testing.T, s *Space, va x86.Virt, want uint64, when string) {
	t.Helper()
	if got := flagsOf(s, va); got != want {
		t.Errorf("%s: %#x, want %#x", when, got, want)
	}
}

// TestMigrateWorked: remove_migration_pte(), rows W and R, through move_pages: what the page held comes along.
func TestMigrateWorked(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("here")))
		old := s.pte(va).PFN(m.abi)
		must(t, c.MovePages([]x86.Virt{va}, 1, true)[0])
		wantFlags(t, s, va, 0x8000000000000867, "W, young, dirty, soft-dirty")
		if s.pte(va).PFN(m.abi) == old {
			t.Error("the page did not move")
		}
		var b [4]byte
		must(t, c.Load(va, b[:]))
		if string(b[:]) != "here" {
			t.Errorf("it holds %q", b)
		}
		must(t, c.Mprotect(va, x86.PageSize, ProtRead))
		must(t, c.MovePages([]x86.Virt{va}, 0, true)[0])
		wantFlags(t, s, va, pick(m, uint64(0x8000000000000865), 0x8400000000000825), "RX")
		if pfn := s.pte(va).PFN(m.abi); !m.exclusive(pfn) || m.folio(pfn).ref != 1 || m.pages[pfn].mapped != 1 {
			t.Errorf("page %+v, exclusive %v", m.pages[pfn], m.exclusive(pfn))
		}
		used := m.ram.Used()
		child, err := c.Fork()
		must(t, err)
		must(t, c.MovePages([]x86.Virt{va}, 1, true)[0])
		if a, b := s.pte(va).PFN(m.abi), child.pte(va).PFN(m.abi); a != b || m.folio(a).ref != 2 || m.exclusive(a) {
			t.Errorf("shared page at %#x and %#x, %d references", a, b, m.folio(a).ref)
		}
		child.Exit(m.CPU(1))
		if got := m.ram.Used(); got != used {
			t.Errorf("%d frames in use, were %d", got, used)
		}
	})
}

// TestMigrationWaits: a CPU that meets a migration entry waits, and finds the page where it went.
func TestMigrationWaits(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte{1}))
		task := m.Go(c, func() { must(t, c.MovePages([]x86.Virt{va}, 1, true)[0]) })
		if !task.RunTo(PointMigrating) {
			t.Fatal("no point")
		}
		if e := s.pte(va); e.Present() {
			t.Fatalf("%#x is no migration entry", e)
		}
		other := m.CPU(1)
		must(t, other.Run(s))
		must(t, other.Store(va, []byte{2}))
		if !task.Done() {
			t.Error("the store did not wait")
		}
		wantFlags(t, s, va, 0x8000000000000867, "after the store")
	})
}

// TestPinnedStays: GUP and pins and try_to_migrate_one(): a pinned page neither moves nor is shared by fork.
func TestPinnedStays(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte("dma")))
		p, err := c.GetPages(va, 1, GUPWrite|GUPPin)
		must(t, err)
		pfn := p.Frames()[0]
		if c.MovePages([]x86.Virt{va}, 1, true)[0] == nil {
			t.Error("a pinned page moved")
		}
		wantFlags(t, s, va, 0x8000000000000867, "after the attempt")
		child, err := c.Fork()
		must(t, err)
		wantFlags(t, s, va, 0x8000000000000867, "parent after fork")
		if got := child.pte(va); got.PFN(m.abi) == pfn || got.Flags(m.abi) != 0x8000000000000867 {
			t.Errorf("child has %#x", got)
		}
		p.Put()
		if m.folio(pfn).ref != 1 {
			t.Errorf("%d references", m.folio(pfn).ref)
		}
	})
}

// TestNUMAWorked: worked values of mprotect, row NUMA; do_numa_page().
func TestNUMAWorked(t *testing.T) {
	eachProfile(t, func(t *testing.T, m *Machine, c *CPU, s *Space) {
		va := mapAnon(t, c, 1)
		must(t, c.Store(va, []byte{1}))
		must(t, m.CPU(1).Run(s)) // a second thread, or the page is left alone where it is
		if n, err := c.NUMAHint(va, x86.PageSize); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		wantFlags(t, s, va, pick(m, uint64(0x962), 0x0400000000000920), "hint")
		var b [1]byte
		must(t, c.Load(va, b[:]))
		wantFlags(t, s, va, 0x8000000000000867, "after the access")
		_, err := c.NUMAHint(va, x86.PageSize)
		must(t, err)
		far := m.CPU(3)
		must(t, far.Run(s))
		must(t, far.Load(va, b[:]))
		wantFlags(t, s, va, pick(m, uint64(0x8000000000000867), 0x8400000000000825), "after a read from the other node")
		if m.folio(s.pte(va).PFN(m.abi)).node != 1 {
			t.Error("the page did not follow")
		}
	})
}
