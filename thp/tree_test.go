package thp

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

const (
	at      = 0x7f12_3400_0000
	elseway = 0x7f52_3480_0000
)

// watcher notes the flushes that do not wait for a gather.
type watcher struct {
	flushes []pgtable.Flush
}

func (w *watcher) FlushTLB(_ *pgtable.Tree, f pgtable.Flush) {
	w.flushes = append(w.flushes, f)
}

// want checks that one flush of the 2 MiB at va came, for entries of level l, or none with l 0.
func (w *watcher) want(t *testing.T, va x86.Virt, l x86.Level) {
	t.Helper()
	switch {
	case l == 0 && len(w.flushes) == 0:
	case l != 0 && len(w.flushes) == 1 && w.flushes[0] == pgtable.Flush{Range: span(va), Levels: 1 << l}:
	default:
		t.Errorf("flushes %+v, want one of %v at %v", w.flushes, l, va)
	}
	w.flushes = nil
}

type world struct {
	*Area
	*watcher
	tree *pgtable.Tree
	ram  *physmem.RAM
}

func newWorld(t *testing.T, k x86.Kernel) *world {
	t.Helper()
	ram, err := physmem.NewRAM(0x10000, 512)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ram.Close() })
	w := &world{Area: area(k), watcher: &watcher{}, ram: ram}
	w.Flusher = w.watcher
	if w.tree, err = pgtable.New(ram, w.abi()); err != nil {
		t.Fatal(err)
	}
	return w
}

// pmd returns the entry for va and the number of tables deposited with its table.
func (w *world) pmd(t *testing.T, va x86.Virt) (x86.PMD, int) {
	t.Helper()
	c, err := w.tree.LockPMDs(va, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Unlock()
	return c.Get(va.Index(x86.LevelPMD)), c.Deposited()
}

func (w *world) wantPMD(t *testing.T, va x86.Virt, e x86.PMD, deposited int) {
	t.Helper()
	if got, n := w.pmd(t, va); got != e || n != deposited {
		t.Errorf("%v: pmd %#016x, %d deposited; want %#016x, %d", va, uint64(got), n, uint64(e), deposited)
	}
	if err := w.tree.Check(); err != nil {
		t.Error(err)
	}
}

func (w *world) mustMap(t *testing.T, va x86.Virt, e x86.PMD) {
	t.Helper()
	if err := w.Map(w.tree, va, e); err != nil {
		t.Fatal(err)
	}
}

func forEachKernel(t *testing.T, f func(t *testing.T, w *world, v61 bool)) {
	for _, k := range x86.Kernels() {
		t.Run(k.Release, func(t *testing.T) { f(t, newWorld(t, k), k.Release == "6.1") })
	}
}

func exclusive(x86.PFN) Page { return Page{Anon: true, Exclusive: true} }

func TestMapSplit(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		w.mustMap(t, at, leafRW)
		w.wantPMD(t, at, leafRW, 1)
		if err := w.Map(w.tree, at, leafRW); !errors.Is(err, ErrOccupied) {
			t.Errorf("mapped twice: %v", err)
		}
		w.wantPMD(t, at, leafRW, 1)
		r, err := w.Split(w.tree, at+0x5000, exclusive, false)
		if err != nil || r.Kind != SplitPages || !r.Dirty || !r.Young || !r.Exclusive || r.PFN != 0x40000 {
			t.Errorf("%+v, %v", r, err)
		}
		w.watcher.want(t, at, x86.LevelPMD)
		e, n := w.pmd(t, at)
		if e&0xfff != x86.PageTable || n != 0 {
			t.Errorf("pmd %#x, %d deposited", uint64(e), n)
		}
		c, err := w.tree.LockPTEs(at, false)
		if err != nil {
			t.Fatal(err)
		}
		want := x86.PTE(0x80000000401ff867)
		if v61 {
			want = 0x80000000401ff827
		}
		if got := c.Get(511); got != want || c.Used() != Pages {
			t.Errorf("last entry %#x, want %#x; %d in use", uint64(got), uint64(want), c.Used())
		}
		c.Unlock()
		if r, err := w.Split(w.tree, at, exclusive, false); r.Split || err != nil {
			t.Errorf("split twice: %+v, %v", r, err)
		}
		if err := w.tree.Check(); err != nil {
			t.Error(err)
		}
	})
}

func TestSplitFile(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, _ bool) {
		w.Anon = false
		w.mustMap(t, at, leafRW)
		w.wantPMD(t, at, leafRW, 0)
		r, err := w.Split(w.tree, at, exclusive, true)
		if err != nil || r.Kind != SplitCleared || !r.Dirty || !r.Young || r.PFN != 0x40000 {
			t.Errorf("%+v, %v", r, err)
		}
		w.watcher.want(t, at, x86.LevelPMD)
		w.wantPMD(t, at, 0, 0)
	})
}

func TestSplitZeroAndMigration(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, _ bool) {
		w.mustMap(t, at, w.ZeroLeaf())
		w.wantPMD(t, at, w.ZeroLeaf(), 1)
		if r, err := w.Split(w.tree, at, nil, false); r.Kind != SplitZero || err != nil {
			t.Errorf("%+v, %v", r, err)
		}
		w.watcher.want(t, at, x86.LevelPMD)

		w.mustMap(t, at+2<<20, leafRW)
		old, err := w.SetMigration(w.tree, at+2<<20, exclusive(0))
		if old != leafRW || err != nil {
			t.Errorf("%#x, %v", uint64(old), err)
		}
		w.watcher.want(t, at+2<<20, x86.LevelPMD)
		w.wantPMD(t, at+2<<20, w.MigrationPMD(leafRW, exclusive(0)), 1)
		if r, err := w.Split(w.tree, at+2<<20, exclusive, false); r.Kind != SplitPages || err != nil {
			t.Errorf("%+v, %v", r, err)
		}
		w.watcher.want(t, 0, 0) // no processor could cache it
	})
}

func TestMigration(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, v61 bool) {
		w.mustMap(t, at, leafRW)
		pinned := Page{Anon: true, Exclusive: true, Pinned: true}
		if _, err := w.SetMigration(w.tree, at, pinned); !errors.Is(err, ErrPinned) {
			t.Errorf("pinned page: %v", err)
		}
		w.watcher.want(t, at, x86.LevelPMD)
		w.wantPMD(t, at, leafRW, 1)
		if _, err := w.RemoveMigration(w.tree, at, 0x41000, Page{}); !errors.Is(err, ErrNotHuge) {
			t.Errorf("no migration entry: %v", err)
		}
		if _, err := w.SetMigration(w.tree, at, exclusive(0)); err != nil {
			t.Fatal(err)
		}
		excl, err := w.RemoveMigration(w.tree, at, 0x41000, Page{Anon: true, Dirty: true})
		if !excl || err != nil {
			t.Errorf("%v, %v", excl, err)
		}
		w.wantPMD(t, at, leafRW+0x1000000, 1)
	})
}

func TestZapMove(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, _ bool) {
		w.mustMap(t, at, 0x80000000400004e5)
		var g pgtable.Gather
		g.Start(w.tree, nil)
		if flush, err := w.Move(&g, at, elseway, true); !flush || err != nil {
			t.Errorf("%v, %v", flush, err)
		}
		if f, owed := g.Owed(); !owed || f.Range != span(at) || f.Levels != 1<<x86.LevelPMD {
			t.Errorf("owed %v %+v", owed, f)
		}
		if err := g.Finish(); err != nil {
			t.Error(err)
		}
		w.wantPMD(t, at, 0, 0)
		w.wantPMD(t, elseway, 0x80000000400008e5, 1)

		// Somebody is there already: nothing moves.
		w.mustMap(t, at, leafRW)
		g.Start(w.tree, nil)
		if _, err := w.Move(&g, at, elseway, true); !errors.Is(err, ErrOccupied) {
			t.Errorf("moved onto another: %v", err)
		}
		if _, owed := g.Owed(); owed {
			t.Error("a move that failed owes a flush")
		}
		g.Finish()
		w.wantPMD(t, at, leafRW, 1)

		g.Start(w.tree, nil)
		old, err := w.Zap(&g, elseway)
		if old != 0x80000000400008e5 || err != nil {
			t.Errorf("%#x, %v", uint64(old), err)
		}
		if f, owed := g.Owed(); !owed || f.Range != span(elseway) || f.Levels != 1<<x86.LevelPMD {
			t.Errorf("owed %v %+v", owed, f)
		}
		if _, err := w.Zap(&g, elseway); !errors.Is(err, ErrNotHuge) {
			t.Errorf("zapped twice: %v", err)
		}
		g.Finish()
		w.wantPMD(t, elseway, 0, 0)
	})
}

func TestCollapse(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, _ bool) {
		r := pgtable.Range{First: at, Last: at + 2<<20 - 1}
		if err := w.tree.Map(r, 0x50000, x86.ProtReadonly); err != nil {
			t.Fatal(err)
		}
		table, _ := w.pmd(t, at)
		no := errors.New("no")
		if err := w.Collapse(w.tree, at, 0x40000, func(pgtable.PTECursor) error { return no }); err != no {
			t.Errorf("collapse: %v", err)
		}
		w.watcher.want(t, at, x86.LevelPTE)
		w.wantPMD(t, at, table, 0)
		seen := 0
		err := w.Collapse(w.tree, at, 0x40000, func(c pgtable.PTECursor) error {
			for i := range Pages {
				if c.Get(i).PFN(w.abi()) == 0x50000+x86.PFN(i) {
					seen++
				}
			}
			return nil
		})
		if err != nil || seen != Pages {
			t.Errorf("collapse: %v, %d pages seen", err, seen)
		}
		w.watcher.want(t, at, x86.LevelPTE)
		w.wantPMD(t, at, leafRW, 1)
		c, err := w.tree.LockPMDs(at, false)
		if err != nil {
			t.Fatal(err)
		}
		deposited, _ := c.Withdraw()
		ptes := w.tree.LockTable(deposited, at)
		if *ptes.Table() != (physmem.Table{}) {
			t.Error("the deposited table is not empty")
		}
		ptes.Unlock()
		c.Deposit(deposited)
		c.Unlock()
		if err := w.Collapse(w.tree, at, 0x40000, nil); !errors.Is(err, ErrNotTable) {
			t.Errorf("collapsed twice: %v", err)
		}
		// There and back.
		if r, err := w.Split(w.tree, at, exclusive, false); r.Kind != SplitPages || err != nil {
			t.Errorf("%+v, %v", r, err)
		}
		if err := w.tree.Check(); err != nil {
			t.Error(err)
		}
	})
}

func TestCollapsible(t *testing.T) {
	fit := CollapsePage{Fit: true}
	for _, k := range x86.Kernels() {
		v := area(k)
		v61, v72 := k.Release == "6.1", k.Release == "7.2"
		base := func() (p [Pages]x86.PTE) {
			e := x86.PTE(0x8000000050000867)
			for i := range p {
				p[i] = e.AdvancePFN(uint64(i))
			}
			return p
		}
		marker := v.Layout.MakePTEMarker(1)
		for _, c := range []struct {
			name string
			set  func(p *[Pages]x86.PTE)
			lim  Limits
			page CollapsePage
			want Verdict
		}{
			{"all well", nil, Limits{}, fit, CollapseOK},
			{"one empty", func(p *[Pages]x86.PTE) { p[7] = 0 }, Limits{}, fit, ExceedNone},
			{"one empty is fine", func(p *[Pages]x86.PTE) { p[7] = x86.PageDirty }, Limits{None: 1}, fit, CollapseOK},
			{"zero page counts as empty", func(p *[Pages]x86.PTE) { p[7] = 0x8000000000333225 }, Limits{}, fit, ExceedNone},
			{"userfaultfd wants none empty", func(p *[Pages]x86.PTE) { p[7] = 0 }, Limits{None: 9, UffdArmed: true}, fit, ExceedNone},
			{"swap", func(p *[Pages]x86.PTE) { p[7] = 0x07ffffffffdb9600 }, Limits{}, fit, ExceedSwap},
			{"swap is fine", func(p *[Pages]x86.PTE) { p[7] = 0x07ffffffffdb9600 }, Limits{Swap: 1}, fit, CollapseOK},
			{"protected swap", func(p *[Pages]x86.PTE) { p[7] = 0x07ffffffffdb9604 }, Limits{Swap: 1}, fit, UffdWP},
			{"protected page", func(p *[Pages]x86.PTE) { p[7] |= x86.PageUffdWP }, Limits{}, fit, UffdWP},
			{"marker", func(p *[Pages]x86.PTE) { p[7] = marker }, Limits{Swap: 1}, fit,
				map[bool]Verdict{true: CollapseOK, false: UffdWP}[v61]},
			{"shared", nil, Limits{Shared: 511}, CollapsePage{Fit: true, Shared: true}, ExceedShared},
			{"shared is fine", nil, Limits{Shared: 512}, CollapsePage{Fit: true, Shared: true}, CollapseOK},
			{"unfit", nil, Limits{}, CollapsePage{}, PageUnfit},
			{"read-only", func(p *[Pages]x86.PTE) {
				for i := range p {
					p[i] &^= x86.PageRW | x86.PageDirty
				}
			}, Limits{}, fit, map[bool]Verdict{true: CollapseOK, false: NoWritable}[v72]},
			{"old", func(p *[Pages]x86.PTE) {
				for i := range p {
					p[i] = p[i].MkOld()
				}
			}, Limits{Referenced: true}, fit, NotReferenced},
		} {
			p := base()
			if c.set != nil {
				c.set(&p)
			}
			if got := v.Collapsible(&p, c.lim, func(int, x86.PTE) CollapsePage { return c.page }); got != c.want {
				t.Errorf("%s, %s: %d, want %d", k.Release, c.name, got, c.want)
			}
		}
	}
}

// TestNoMemory: what fails for lack of a table to deposit changes nothing.
func TestNoMemory(t *testing.T) {
	forEachKernel(t, func(t *testing.T, w *world, _ bool) {
		w.ram.SetLimit(w.ram.Used())
		if err := w.Map(w.tree, at, leafRW); !errors.Is(err, physmem.ErrNoMemory) {
			t.Errorf("Map: %v", err)
		}
		w.ram.SetLimit(w.ram.Used() + 1)
		if err := w.Map(w.tree, at, leafRW); !errors.Is(err, physmem.ErrNoMemory) {
			t.Errorf("Map: %v", err)
		}
		if err := w.tree.Check(); err != nil {
			t.Error(err)
		}
	})
}
