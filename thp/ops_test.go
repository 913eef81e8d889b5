package thp

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// TestHooks runs the tree's own operations over huge pages.
func TestHooks(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		h := &Huge{Area: w.Area, Page: exclusive}
		w.mustMap(t, at, leafRW)
		w.mustMap(t, at+2<<20, leafRW+512<<12)
		r := pgtable.Range{First: at, Last: at + 4<<20 - 1}
		var g pgtable.Gather
		g.Start(w.tree, w.watcher)
		err := w.tree.ClearSoftDirty(&g, r, &pgtable.SoftDirty{Huge: h.SoftDirtyClearer(w.tree)})
		if err := errors.Join(err, g.Finish()); err != nil {
			t.Fatal(err)
		}
		clean := x86.PMD(0x84000000400000a5)
		if v61 {
			clean = 0x80000000400000e5
		}
		w.wantPMD(t, at, clean, 2)
		w.wantPMD(t, at+2<<20, clean+512<<12, 2)
		if len(w.flushes) != 2 || w.flushes[1].Range != span(at+2<<20) {
			t.Errorf("flushes %+v", w.flushes)
		}
		w.flushes = nil

		// The first page of the first, and the second whole.
		var zapped []x86.Virt
		for _, r := range []pgtable.Range{{First: at, Last: at + 0xfff}, {First: at + 2<<20, Last: at + 4<<20 - 1}} {
			g.Start(w.tree, w.watcher)
			huge := h.Zapper(&g, func(va x86.Virt, old x86.PMD) { zapped = append(zapped, va) })
			err := w.tree.Zap(&g, r, &pgtable.Zap{Huge: huge})
			if err := errors.Join(err, g.Finish()); err != nil {
				t.Fatal(err)
			}
		}
		if len(zapped) != 1 || zapped[0] != at+2<<20 {
			t.Errorf("zapped %v", zapped)
		}
		w.wantPMD(t, at+2<<20, 0, 0)
		c, err := w.tree.LockPTEs(at, false)
		if err != nil {
			t.Fatal(err)
		}
		if c.Get(0) != 0 || c.Used() != Pages-1 {
			t.Errorf("first entry %#x, %d in use", uint64(c.Get(0)), c.Used())
		}
		c.Unlock()
	})
}
