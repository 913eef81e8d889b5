package thp

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// TestAging runs the tree's aging over a young leaf, an old one, and a migration entry.
func TestAging(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		const young, old, gone = at, at + 2<<20, at + 4<<20
		oldLeaf := x86.PMD(leafRW + 512<<12).MkOld()
		migration := w.MigrationPMD(leafRW, exclusive(0))
		w.mustMap(t, young, leafRW)
		w.mustMap(t, old, oldLeaf)
		w.mustMap(t, gone, migration)
		r := pgtable.Range{First: at, Last: at + 6<<20 - 1}
		var found []x86.Virt
		tell := func(va x86.Virt, e x86.PMD) { found = append(found, va) }
		want := func(name string, n int, err error, first, second x86.PMD, vas ...x86.Virt) {
			t.Helper()
			if err != nil || n != 0 {
				t.Errorf("%s: %d pages, %v", name, n, err)
			}
			w.wantPMD(t, young, first, 3)
			w.wantPMD(t, old, second, 3)
			w.wantPMD(t, gone, migration, 3)
			if len(found) != len(vas) || len(vas) == 1 && found[0] != vas[0] {
				t.Errorf("%s: found %v, want %v", name, found, vas)
			}
			found = nil
		}
		n, err := w.tree.Young(r, false, nil, YoungFinder(false, tell))
		want("young", n, err, leafRW, oldLeaf, young)
		n, err = w.tree.Idle(r, nil, IdleFinder(tell))
		want("idle", n, err, leafRW-0x20, oldLeaf, old)
		err = w.tree.MkYoung(r, YoungMaker())
		want("mkyoung", 0, err, leafRW, oldLeaf+0x20)
		// A part of a leaf counts as all of it.
		n, err = w.tree.Young(pgtable.Range{First: old + 0x3000, Last: old + 0x3fff}, true, nil, YoungFinder(true, tell))
		want("young, clear", n, err, leafRW, oldLeaf, old)
		n, err = w.tree.Dirty(r, nil, w.DirtyFinder(tell))
		want("dirty", n, err, leafRW, oldLeaf, young, old)
		w.watcher.want(t, 0, 0)
	})
}

// TestCleaner is KSM, page_mkclean() and guards, page_mkclean.
func TestCleaner(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		w.Anon = false
		savedDirty := two(0x80000000402008e5, 0x84000000402008a5)[1]
		if v61 {
			savedDirty = 0x80000000402008e5
		}
		const writable, clean = 0x80000000404000a7, 0x80000000406008a5
		w.mustMap(t, at, leafRW)
		w.mustMap(t, at+2<<20, savedDirty)
		w.mustMap(t, at+4<<20, writable)
		w.mustMap(t, at+6<<20, clean)
		dirty := 0
		var g pgtable.Gather
		g.Start(w.tree, nil)
		_, err := w.tree.MkClean(&g, pgtable.Range{First: at, Last: at + 8<<20 - 1}, nil,
			w.Cleaner(w.tree, func(x86.Virt, x86.PMD) { dirty++ }))
		if err := errors.Join(err, g.Finish()); err != nil {
			t.Fatal(err)
		}
		if dirty != 2 || len(w.flushes) != 3 || w.flushes[2].Range != span(at+4<<20) {
			t.Errorf("%d dirty, flushes %+v", dirty, w.flushes)
		}
		w.wantPMD(t, at, 0x80000000400008a5, 0)
		w.wantPMD(t, at+2<<20, 0x80000000402008a5, 0)
		w.wantPMD(t, at+4<<20, 0x80000000404000a5, 0)
		w.wantPMD(t, at+6<<20, clean, 0)
	})
}

// TestWritableTrap: 6.1 stops where a change would leave an anonymous huge page writable, unless a NUMA hint kept that.
func TestWritableTrap(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		w.mustMap(t, at, leafRW)
		h := &Huge{Area: w.Area, Page: exclusive}
		change := func(prot x86.Prot, f x86.ChangeFlags) error {
			p, err := pgtable.NewProtection(w.abi(), pgtable.ProtectionArgs{Prot: prot, Flags: f, Anonymous: h.Anon, Huge: h})
			if err != nil {
				t.Fatal(err)
			}
			var g pgtable.Gather
			g.Start(w.tree, nil)
			_, err = w.tree.ChangeProtection(&g, span(at), p)
			return errors.Join(err, g.Finish())
		}
		err := change(x86.ProtShared, 0)
		var where *Error
		if !v61 {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if !errors.Is(err, ErrWritable) || !errors.As(err, &where) || where.VA != at {
			t.Errorf("error %v", err)
		}
		w.wantPMD(t, at, leafRW, 1)
		if err := change(x86.ProtNone, x86.ChangeNUMA); err != nil {
			t.Errorf("NUMA hint: %v", err)
		}
		w.wantPMD(t, at, 0x000fffffbfe009e2, 1)
		if err := change(x86.ProtReadonly, 0); err != nil {
			t.Errorf("read-only: %v", err)
		}
		h.Anon = false
		if err := change(x86.ProtShared, 0); err != nil {
			t.Errorf("file: %v", err)
		}
	})
}
