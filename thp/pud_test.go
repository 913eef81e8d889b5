package thp

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

const (
	giga    = 0x7f12_4000_0000
	gigaTo  = 0x7f52_8000_0000
	gigaRW  = 0x80000000400008e7 // frame 0x40000: RW, A, D, soft-dirty
	gigaLen = 1 << 30
)

func (w *world) wantPUD(t *testing.T, va x86.Virt, e x86.PUD) {
	t.Helper()
	c, err := w.tree.LockPUDs(va, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Get(va.Index(x86.LevelPUD)); got != e || c.Addr(va.Index(x86.LevelPUD)) != va {
		t.Errorf("%v: pud %#016x, want %#016x", va, uint64(got), uint64(e))
	}
	c.Unlock()
	if err := w.tree.Check(); err != nil {
		t.Error(err)
	}
}

// gigaWorld has a 1 GiB page of a file, and notes which were cleared.
func gigaWorld(t *testing.T, w *world) (*Huge, *[]x86.PUD) {
	t.Helper()
	w.Anon = false
	if err := w.MapPUD(w.tree, giga, gigaRW); err != nil {
		t.Fatal(err)
	}
	cleared := new([]x86.PUD)
	return &Huge{Area: w.Area, Cleared: func(va x86.Virt, old x86.PUD) { *cleared = append(*cleared, old) }}, cleared
}

// changeGiga changes the protection of the page, or of a part, and returns what was counted and owed.
func changeGiga(t *testing.T, w *world, h *Huge, r pgtable.Range, args pgtable.ProtectionArgs) (int64, pgtable.Flush) {
	t.Helper()
	args.Huge = h
	p, err := pgtable.NewProtection(w.abi(), args)
	if err != nil {
		t.Fatal(err)
	}
	var g pgtable.Gather
	g.Start(w.tree, nil)
	n, err := w.tree.ChangeProtection(&g, r, p)
	owed, _ := g.Owed()
	if err := errors.Join(err, g.Finish()); err != nil {
		t.Fatal(err)
	}
	return n, owed
}

var wholeGiga = pgtable.Range{First: giga, Last: giga + gigaLen - 1}

// TestChangePUD is change_huge_pmd(), huge PUD.
func TestChangePUD(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		h, cleared := gigaWorld(t, w)
		n, owed := changeGiga(t, w, h, wholeGiga, pgtable.ProtectionArgs{Prot: x86.ProtReadonly})
		if v61 { // a broken pointer, emptied, and nobody hears of it but us
			if n != 0 || owed.Levels != 0 || len(w.flushes) != 0 || len(*cleared) != 1 || (*cleared)[0] != gigaRW {
				t.Errorf("%d pages, owed %+v, flushes %+v, cleared %#x", n, owed, w.flushes, *cleared)
			}
			w.wantPUD(t, giga, 0)
			return
		}
		flush := pgtable.Flush{Range: wholeGiga, Levels: 1 << x86.LevelPUD}
		if n != PUDPages || owed != flush || len(w.flushes) != 1 || w.flushes[0] != flush {
			t.Errorf("%d pages, owed %+v, flushes %+v", n, owed, w.flushes)
		}
		w.wantPUD(t, giga, 0x84000000400008a5)
		w.flushes = nil
		n, owed = changeGiga(t, w, h, wholeGiga, pgtable.ProtectionArgs{Prot: x86.ProtNone, Flags: numa})
		if n != 0 || owed.Levels != 0 || len(w.flushes) != 0 {
			t.Errorf("NUMA: %d pages, owed %+v, flushes %+v", n, owed, w.flushes)
		}
		w.wantPUD(t, giga, 0x84000000400008a5)
		changeGiga(t, w, h, wholeGiga, pgtable.ProtectionArgs{Prot: x86.ProtNone})
		w.wantPUD(t, giga, 0x040fffff800009a0)
		changeGiga(t, w, h, wholeGiga, pgtable.ProtectionArgs{Prot: x86.ProtShared})
		w.wantPUD(t, giga, gigaRW)
		if *cleared != nil {
			t.Errorf("cleared %#x", *cleared)
		}
	})
}

// TestSplitPUD: a part of the page, or userfaultfd, clears all of it, and markers take its place where they are wanted.
func TestSplitPUD(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		if v61 {
			t.Skip("6.1 knows no split here")
		}
		h, cleared := gigaWorld(t, w)
		part := pgtable.Range{First: giga + 0x5000, Last: giga + 0x7fff}
		if n, _ := changeGiga(t, w, h, part, pgtable.ProtectionArgs{Prot: x86.ProtReadonly}); n != 0 {
			t.Errorf("%d pages counted", n)
		}
		flush := pgtable.Flush{Range: wholeGiga, Levels: 1 << x86.LevelPUD}
		if len(*cleared) != 1 || len(w.flushes) != 1 || w.flushes[0] != flush {
			t.Errorf("cleared %#x, flushes %+v", *cleared, w.flushes)
		}
		w.wantPUD(t, giga, 0)

		if err := w.MapPUD(w.tree, giga, gigaRW); err != nil {
			t.Fatal(err)
		}
		marker := uint64(w.Layout.MakePTEMarker(1))
		swap := x86.NewSwapChange()
		swap.Install = marker
		args := pgtable.ProtectionArgs{Prot: x86.ProtReadonly, Flags: wp, Swap: swap}
		first := pgtable.Range{First: giga, Last: giga + 4<<20 - 1}
		if n, _ := changeGiga(t, w, h, first, args); n != 2*Pages {
			t.Errorf("%d pages counted, want %d markers", n, 2*Pages)
		}
		c, err := w.tree.LockPTEs(giga+2<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := uint64(c.Get(511)); got != marker {
			t.Errorf("marker %#x, want %#x", got, marker)
		}
		c.Unlock()
	})
}

func TestZapPUD(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, _ bool) {
		h, cleared := gigaWorld(t, w)
		if err := w.MapPUD(w.tree, giga, gigaRW); !errors.Is(err, ErrOccupied) {
			t.Errorf("mapped twice: %v", err)
		}
		zap := func(r pgtable.Range) pgtable.Flush {
			t.Helper()
			var g pgtable.Gather
			g.Start(w.tree, nil)
			err := w.tree.Zap(&g, r, &pgtable.Zap{Huge: h.Zapper(&g, nil)})
			owed, _ := g.Owed()
			if err := errors.Join(err, g.Finish()); err != nil {
				t.Error(err)
			}
			return owed
		}
		if owed := zap(wholeGiga); owed.Range != wholeGiga || owed.Levels != 1<<x86.LevelPUD || len(w.flushes) != 0 {
			t.Errorf("owed %+v, flushes %+v", owed, w.flushes)
		}
		w.wantPUD(t, giga, 0)
		if err := w.MapPUD(w.tree, giga, gigaRW); err != nil {
			t.Fatal(err)
		}
		zap(pgtable.Range{First: giga + 4<<20, Last: giga + 4<<20 + 0xfff})
		w.wantPUD(t, giga, 0)
		if len(*cleared) != 2 || len(w.flushes) != 1 {
			t.Errorf("cleared %#x, flushes %+v", *cleared, w.flushes)
		}
		var g pgtable.Gather
		g.Start(w.tree, nil)
		if _, err := h.ZapPUD(&g, giga); !errors.Is(err, ErrNotHuge) {
			t.Errorf("zapped twice: %v", err)
		}
		g.Finish()
	})
}

func TestForkMovePUD(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		h, _ := gigaWorld(t, w)
		f := newFamily(t, w)
		owed, err := f.fork(t, wholeGiga, h)
		if err != nil || owed.Range != wholeGiga || owed.Levels != 1<<x86.LevelPUD {
			t.Errorf("%v, owed %+v", err, owed)
		}
		parent, child := x86.PUD(0x84000000400008a5), x86.PUD(0x8400000040000885)
		if v61 {
			parent, child = 0x80000000400008e5, 0x80000000400008c5
		}
		w.wantPUD(t, giga, parent)
		f.ofChild().wantPUD(t, giga, child)
		if _, err := f.fork(t, wholeGiga, h); !errors.Is(err, ErrOccupied) {
			t.Errorf("copied twice: %v", err)
		}

		var g pgtable.Gather
		g.Start(w.tree, nil)
		err = w.tree.Move(&g, wholeGiga, gigaTo, &pgtable.Move{Huge: h.Mover(&g, false)})
		if f, _ := g.Owed(); f.Range != wholeGiga || f.Levels != 1<<x86.LevelPUD {
			t.Errorf("owed %+v", f)
		}
		if err := errors.Join(err, g.Finish()); err != nil {
			t.Fatal(err)
		}
		w.wantPUD(t, giga, 0)
		w.wantPUD(t, gigaTo, parent)
		// A part does not move, and does not stay.
		g.Start(w.tree, nil)
		r := pgtable.Range{First: gigaTo, Last: gigaTo + 2<<20 - 1}
		err = w.tree.Move(&g, r, giga, &pgtable.Move{Huge: h.Mover(&g, false)})
		if err := errors.Join(err, g.Finish()); err != nil {
			t.Fatal(err)
		}
		w.wantPUD(t, gigaTo, 0)
		w.wantPUD(t, giga, 0)
	})
}

// TestMover: a covered leaf moves whole to an aligned place, another is split, and its PTEs move.
func TestMover(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, _ bool) {
		h := &Huge{Area: w.Area, Page: exclusive}
		move := func(from, to, size x86.Virt) {
			t.Helper()
			var g pgtable.Gather
			g.Start(w.tree, nil)
			err := w.tree.Move(&g, pgtable.Range{First: from, Last: from + size - 1}, to, &pgtable.Move{Huge: h.Mover(&g, false)})
			if err := errors.Join(err, g.Finish()); err != nil {
				t.Fatal(err)
			}
		}
		w.mustMap(t, at, leafRW-0x800)
		move(at, elseway, 2<<20)
		w.wantPMD(t, at, 0, 0)
		w.wantPMD(t, elseway, leafRW, 1)
		move(elseway, at+0x1000, 2<<20)
		c, err := w.tree.LockPTEs(at, false)
		if err != nil {
			t.Fatal(err)
		}
		if c.Get(0) != 0 || c.Get(1).PFN(w.abi()) != 0x40000 || c.Used() != Pages-1 {
			t.Errorf("entries %#x, %#x, %d in use", uint64(c.Get(0)), uint64(c.Get(1)), c.Used())
		}
		c.Unlock()
	})
}
