package thp

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// TestCopiedPMD is copy_page_range(). A want of 0: not in this kernel.
func TestCopiedPMD(t *testing.T) {
	zero, special := all(0x8000000007e000a5), [3]x86.PMD{0, 0x80000000400002a7, 0x80000000400002a7}
	zero[2] = 0x8000000007e002a5
	for _, c := range []struct {
		name               string
		file, keep         bool
		old, child, parent [3]x86.PMD
	}{
		{"RW", false, false, all(leafRW), two(0x80000000400008c5, 0x8400000040000885), two(0x80000000400008e5, 0x84000000400008a5)},
		{"RW, clean", false, false, all(0x80000000400000a7), all(0x8000000040000085), all(0x80000000400000a5)},
		{"uffd-wp", false, false, two(0x8000000040000ce5, 0x8400000040000ca5),
			two(0x80000000400008c5, 0x8400000040000885), two(0x8000000040000ce5, 0x8400000040000ca5)},
		{"uffd-wp kept", false, true, two(0x8000000040000ce5, 0x8400000040000ca5),
			two(0x8000000040000cc5, 0x8400000040000c85), two(0x8000000040000ce5, 0x8400000040000ca5)},
		{"NUMA hint", false, false, two(0x000fffffbfe009e2, 0x040fffffbfe009a0),
			two(0x000fffffbfe009c0, 0x040fffffbfe00980), two(0x000fffffbfe009e0, 0x040fffffbfe009a0)},
		{"huge zero", false, false, zero, [3]x86.PMD{zero[0] - 0x20, zero[1] - 0x20, zero[2] - 0x20}, zero},
		{"special", true, false, special, [3]x86.PMD{0, special[1] - 0x20, special[2] - 0x20}, special},
		{"file", true, false, all(leafRW), all(0), all(leafRW)},
		{"migration write", false, false, ored(migWrite, sd|u), ored(migRead, sd), ored(migRead, sd|u)},
		{"migration write, uffd-wp kept", false, true, ored(migWrite, sd|u), ored(migRead, sd|u), ored(migRead, sd|u)},
		{"migration read-exclusive", false, false, migReadEx, migRead, migRead},
		{"migration read", false, false, ored(migRead, u), migRead, ored(migRead, u)},
		{"device-private write", false, true, ored(privWrite, sd|u), ored(privRead, sd|u), ored(privRead, sd|u)},
		{"device-private read", false, false, ored(privRead, u), privRead, ored(privRead, u)},
	} {
		for n, k := range x86.Kernels() {
			if c.old[n]&^(sd|u) == 0 {
				continue
			}
			v := area(k)
			v.Anon = !c.file
			child, parent, ok := v.CopiedPMD(c.old[n], c.keep)
			if child != c.child[n] || parent != c.parent[n] || ok != (c.child[n] != 0) {
				t.Errorf("%s, %s: child %#016x, parent %#016x, %v; want %#016x, %#016x", k.Release, c.name, uint64(child),
					uint64(parent), ok, uint64(c.child[n]), uint64(c.parent[n]))
			}
		}
	}
}

// family is a world with a child.
type family struct {
	*world
	child  *pgtable.Tree
	shared []x86.PFN
}

func newFamily(t *testing.T, w *world) *family {
	t.Helper()
	child, err := pgtable.New(w.ram, w.abi())
	if err != nil {
		t.Fatal(err)
	}
	return &family{world: w, child: child}
}

// fork copies r and returns the flush that was owed.
func (f *family) fork(t *testing.T, r pgtable.Range, h *Huge) (pgtable.Flush, error) {
	t.Helper()
	var g pgtable.Gather
	g.Start(f.tree, nil)
	o := pgtable.Copy{COW: true}
	f.shared = nil
	o.Huge = h.Copier(&g, f.child, o, func(_ x86.Virt, pfn x86.PFN) { f.shared = append(f.shared, pfn) })
	err := f.tree.Copy(&g, f.child, r, &o)
	owed, _ := g.Owed()
	return owed, errors.Join(err, g.Finish())
}

// ofChild makes the checks of a world look at the child.
func (f *family) ofChild() *world {
	w := *f.world
	w.tree = f.child
	return &w
}

func TestFork(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		f := newFamily(t, w)
		migration := w.MigrationPMD(leafRW+512<<12, exclusive(0))
		zero := at + x86.Virt(2)*(2<<20)
		w.mustMap(t, at, leafRW)
		w.mustMap(t, at+2<<20, migration)
		w.mustMap(t, zero, w.ZeroLeaf())
		h := &Huge{Area: w.Area, Page: exclusive}
		owed, err := f.fork(t, pgtable.Range{First: at, Last: at + 6<<20 - 1}, h)
		if err != nil {
			t.Fatal(err)
		}
		if owed.Range != span(at) || owed.Levels != 1<<x86.LevelPMD {
			t.Errorf("owed %+v", owed)
		}
		if len(f.shared) != 1 || f.shared[0] != 0x40000 {
			t.Errorf("shared %#x", f.shared)
		}
		_, parent, _ := w.CopiedPMD(leafRW, false)
		child, read, _ := w.CopiedPMD(migration, false)
		w.wantPMD(t, at, parent, 3)
		w.wantPMD(t, at+2<<20, read, 3)
		w.wantPMD(t, zero, w.ZeroLeaf(), 3)
		c := f.ofChild()
		c.wantPMD(t, at, parent.MkOld(), 3)
		c.wantPMD(t, at+2<<20, child, 3)
		c.wantPMD(t, zero, w.ZeroLeaf().MkOld(), 3)

		// Where the child has something already, nothing changes.
		used := f.ram.Used()
		if _, err := f.fork(t, span(at), h); !errors.Is(err, ErrOccupied) || f.shared != nil || f.ram.Used() != used {
			t.Errorf("copied twice: %v, shared %#x", err, f.shared)
		}
	})
}

// TestForkPinned: a pinned page cannot be shared as a whole. Its PTEs are, or are asked about.
func TestForkPinned(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		f := newFamily(t, w)
		w.mustMap(t, at, leafRW)
		pinned := func(x86.PFN) Page { return Page{Anon: true, Exclusive: true, Pinned: true} }
		if _, err := f.fork(t, span(at), &Huge{Area: w.Area, Page: pinned}); err != nil {
			t.Fatal(err)
		}
		if f.shared != nil {
			t.Errorf("shared %#x", f.shared)
		}
		want := x86.PTE(0x8400000040005805)
		if v61 {
			want = 0x8000000040005805
		}
		c, err := f.child.LockPTEs(at, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Get(5); got != want || c.Used() != Pages {
			t.Errorf("page 5 of the child: %#x, want %#x; %d in use", uint64(got), uint64(want), c.Used())
		}
		c.Unlock()
		if e, n := w.pmd(t, at); !tableEntry(e) || n != 0 {
			t.Errorf("parent: pmd %#x, %d deposited", uint64(e), n)
		}
		if err := errors.Join(w.tree.Check(), f.child.Check()); err != nil {
			t.Error(err)
		}
	})
}

// TestForkFile: nothing is copied, but for special leaves, which have no table deposited.
func TestForkFile(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		f := newFamily(t, w)
		w.Anon = false
		const special = 0x80000000402002a7
		w.mustMap(t, at, leafRW)
		w.mustMap(t, at+2<<20, special)
		owed, err := f.fork(t, pgtable.Range{First: at, Last: at + 4<<20 - 1}, &Huge{Area: w.Area})
		if err != nil || owed.Levels != 0 || f.shared != nil {
			t.Errorf("%v, owed %+v, shared %#x", err, owed, f.shared)
		}
		w.wantPMD(t, at, leafRW, 0)
		w.wantPMD(t, at+2<<20, special, 0)
		if v61 {
			if n := f.child.Tables(x86.LevelPMD); n != 0 {
				t.Errorf("the child has %d pmd tables", n)
			}
			return
		}
		f.ofChild().wantPMD(t, at, 0, 0)
		f.ofChild().wantPMD(t, at+2<<20, special-0x20, 0)
	})
}

func TestForkNoMemory(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, _ bool) {
		f := newFamily(t, w)
		w.mustMap(t, at, leafRW)
		for left := range uint64(3) { // for the deposited table, and those down to the PMD table
			w.ram.SetLimit(w.ram.Used() + left)
			if _, err := f.fork(t, span(at), &Huge{Area: w.Area, Page: exclusive}); !errors.Is(err, physmem.ErrNoMemory) {
				t.Errorf("%d frames: %v", left, err)
			}
			w.wantPMD(t, at, leafRW, 1)
			if f.shared != nil {
				t.Errorf("shared %#x", f.shared)
			}
			if err := f.child.Check(); err != nil {
				t.Error(err)
			}
			w.ram.SetLimit(512)
			f = newFamily(t, w)
		}
	})
}
