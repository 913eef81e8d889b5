package pgtable_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

const (
	testBase  = 0x80000
	pageSize  = x86.PageSize
	tableSpan = 512 * pageSize
)

// treeModel is one tree and what its entries must be: a flat map, changed one entry at a time.
type treeModel struct {
	t       *rapid.T
	ram     *physmem.RAM
	tree    *pgtable.Tree
	abi     *x86.ABI
	entries map[x86.Virt]x86.PTE
	windows []x86.Virt // each is windowPages long
	flushed flushes
}

const windowPages = 3 * 512

// flushes notes what was flushed.
type flushes []pgtable.Flush

func (f *flushes) FlushTLB(_ *pgtable.Tree, d pgtable.Flush) { *f = append(*f, d) }

func testABIs() []*x86.ABI {
	var all []*x86.ABI
	for _, k := range x86.Kernels() {
		for levels := 4; levels <= 5; levels++ {
			all = append(all, x86.MustABI(k, x86.DefaultPaging(levels)))
			p := x86.DefaultPaging(levels)
			p.EncMask, p.ShadowStack = 1<<51, true
			all = append(all, x86.MustABI(k, p))
		}
	}
	return all
}

// newTreeModel returns an empty tree, with windows that lie across the ends of tables of all levels.
func newTreeModel(t *rapid.T, abi *x86.ABI) *treeModel {
	ram, err := physmem.NewRAM(testBase, 4096)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ram.Close() })
	tree, err := pgtable.New(ram, abi)
	if err != nil {
		t.Fatal(err)
	}
	m := &treeModel{t: t, ram: ram, tree: tree, abi: abi, entries: map[x86.Virt]x86.PTE{}}
	m.windows = []x86.Virt{
		0x400000, 1<<30 - tableSpan - 16*pageSize, 1<<39 - 2*tableSpan, tree.Limit() - windowPages*pageSize,
	}
	if abi.Paging().Levels == 5 {
		m.windows = append(m.windows, 1<<48-tableSpan)
	}
	return m
}

func (m *treeModel) drawRange(label string) pgtable.Range {
	n := rapid.IntRange(1, windowPages).Draw(m.t, label+" pages")
	if rapid.Bool().Draw(m.t, label+" short") {
		n = min(n, 20)
	}
	first := m.windows[rapid.IntRange(0, len(m.windows)-1).Draw(m.t, label+" window")]
	first += x86.Virt(rapid.IntRange(0, windowPages-n).Draw(m.t, label+" first")) * pageSize
	return pgtable.Range{First: first, Last: first + x86.Virt(n)*pageSize - 1}
}

// eachPage calls f for every page of r.
func eachPage(r pgtable.Range, f func(va x86.Virt)) {
	for va := r.First; va < r.Last; va += pageSize {
		f(va)
	}
}

// rewrite replaces the entries of r with what f returns, and returns the range of those that f says want a flush.
func (m *treeModel) rewrite(r pgtable.Range, f func(va x86.Virt, e x86.PTE) (x86.PTE, bool)) (hull pgtable.Range) {
	hull = noHull
	eachPage(r, func(va x86.Virt) {
		e, flush := f(va, m.entries[va])
		m.entries[va] = e
		if flush {
			hull.First, hull.Last = min(hull.First, va), va+pageSize-1
		}
	})
	return hull
}

var noHull = pgtable.Range{First: ^x86.Virt(0)}

// gather runs an operation with a gather and returns what it flushed.
func (m *treeModel) gather(op func(g *pgtable.Gather) error) (pgtable.Range, error) {
	m.t.Helper()
	var g pgtable.Gather
	m.flushed = nil
	g.Start(m.tree, &m.flushed)
	if !m.tree.FlushPending() {
		m.t.Fatal("no flush pending during a gather")
	}
	err := op(&g)
	if err := g.Finish(); err != nil {
		m.t.Fatal(err)
	}
	hull := noHull
	for _, f := range m.flushed {
		if f.FreedTables {
			continue // such a flush is wider, and has a test of its own
		}
		hull.First, hull.Last = min(hull.First, f.First), max(hull.Last, f.Last)
	}
	return hull, err
}

func (m *treeModel) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *treeModel) sameFlush(got, want pgtable.Range) {
	m.t.Helper()
	if got != want {
		m.t.Fatalf("flushed %v to %v, want %v to %v", got.First, got.Last, want.First, want.Last)
	}
}

// check compares the whole tree with the model, and has the tree check itself.
func (m *treeModel) check() {
	m.t.Helper()
	if err := m.tree.Check(); err != nil {
		m.t.Fatal(err)
	}
	m.compare(m.tree, m.entries)
}

func (m *treeModel) compare(tree *pgtable.Tree, want map[x86.Virt]x86.PTE) {
	m.t.Helper()
	used := 0
	for _, e := range want {
		if !e.None() {
			used++
		}
	}
	err := tree.EachPMD(pgtable.Range{First: 0, Last: tree.Limit() - 1}, false, func(s pgtable.PMDSlot) error {
		c, err := s.LockPTEs()
		if err == pgtable.ErrNoTable {
			return nil
		} else if err != nil {
			return err
		}
		defer c.Unlock()
		for i, e := range c.Table() {
			if x86.PTE(e).None() {
				continue
			}
			used--
			if w := want[c.Addr(i)]; w != x86.PTE(e) {
				m.t.Fatalf("entry for %v is %#x, want %#x", c.Addr(i), e, uint64(w))
			}
		}
		return nil
	})
	m.must(err)
	if used != 0 {
		m.t.Fatalf("%d entries are missing", used)
	}
}

// randomEntry returns an entry of any kind.
func (m *treeModel) randomEntry(r *rand.Rand) x86.PTE {
	pfn := x86.PFN(r.IntN(1 << 24))
	soft := x86.PTE(r.Uint64()) & (x86.PageSoftDirty | x86.PageUffdWP | x86.PageAccessed | x86.PageSpecial)
	switch r.IntN(10) {
	case 0:
		return 0
	case 1:
		return x86.PTE(r.Uint64()) & x86.PageKnlErratumMask
	case 2, 3: // neither page nor none
		return x86.PTE(r.Uint64())&^(x86.PagePresent|x86.PageProtnone) | x86.PageGlobal<<1
	case 4:
		return x86.MkPTE(m.abi, pfn, x86.ProtNone) | soft
	case 5:
		return x86.MkPTE(m.abi, pfn, x86.ProtReadonly) | soft
	case 6:
		return (x86.MkPTE(m.abi, pfn, x86.ProtShared) | soft).MkDirty(m.abi).WrProtect(m.abi)
	case 7:
		return x86.MkPTE(m.abi, pfn, x86.ProtReadonly) | soft | x86.PageDirty
	}
	return (x86.MkPTE(m.abi, pfn, x86.ProtShared) | soft).MkDirty(m.abi)
}

func pinned(a *x86.ABI, e x86.PTE) bool { return e.PFN(a)%7 == 0 }
func owned(a *x86.ABI, e x86.PTE) bool  { return e.PFN(a)%5 == 0 }

const testMarker = x86.PTE(0x7ffffffffffff404) // anything that is neither a page nor none

func isMarker(e x86.PTE) bool { return e == testMarker }

func TestTreeModel(t *testing.T) {
	abis := testABIs()
	rapid.Check(t, func(t *rapid.T) {
		m := newTreeModel(t, abis[rapid.IntRange(0, len(abis)-1).Draw(t, "abi")])
		t.Repeat(map[string]func(*rapid.T){
			"":           func(*rapid.T) { m.check() },
			"map":        with(m, (*treeModel).opMap),
			"set":        with(m, (*treeModel).opSet),
			"zap":        with(m, (*treeModel).opZap),
			"unmap":      with(m, (*treeModel).opUnmap),
			"free":       with(m, (*treeModel).opFreeTables),
			"copy":       with(m, (*treeModel).opCopy),
			"move":       with(m, (*treeModel).opMove),
			"soft-dirty": with(m, (*treeModel).opSoftDirty),
			"age":        with(m, (*treeModel).opAge),
			"clean":      with(m, (*treeModel).opClean),
			"access":     with(m, (*treeModel).opAccess),
		})
		m.must(m.tree.Close())
		if n := m.ram.Used(); n != 0 {
			t.Fatalf("%d frames are still in use after Close", n)
		}
	})
}

func with(m *treeModel, op func(*treeModel)) func(*rapid.T) {
	return func(t *rapid.T) {
		m.t = t
		op(m)
	}
}

func (m *treeModel) opMap() {
	r := m.drawRange("map")
	pfn := x86.PFN(rapid.IntRange(0, 1<<30).Draw(m.t, "pfn"))
	prot := rapid.SampledFrom([]x86.Prot{x86.ProtShared, x86.ProtReadonly, x86.ProtNone}).Draw(m.t, "prot")
	short := rapid.IntRange(0, 12).Draw(m.t, "free frames")
	if short < 6 {
		m.ram.SetLimit(m.ram.Used() + uint64(short))
	}
	err := m.tree.Map(r, pfn, prot)
	m.ram.SetLimit(m.ram.Frames())
	done := m.mapped(r, pfn, prot, err)
	if errors.Is(err, physmem.ErrNoMemory) && short < 6 {
		// Go on where it stopped: tables that were made on the way are of use now.
		r.First += x86.Virt(done) * pageSize
		err = m.tree.Map(r, pfn+done, prot)
		m.mapped(r, pfn+done, prot, err)
	}
	if err != nil && !errors.Is(err, pgtable.ErrUsed) {
		m.t.Fatal(err)
	}
}

// mapped notes what Map did before it returned err: it mapped a part of r from its start on, up to the address that
// err names.
func (m *treeModel) mapped(r pgtable.Range, pfn x86.PFN, prot x86.Prot, err error) (n x86.PFN) {
	var at *pgtable.AddrError
	if err != nil && !errors.As(err, &at) {
		m.t.Fatalf("error without an address: %v", err)
	}
	eachPage(r, func(va x86.Virt) {
		if err != nil && va >= at.VA {
			return
		}
		if !m.entries[va].None() {
			m.t.Fatalf("mapped over the entry for %v", va)
		}
		m.entries[va] = x86.MkPTE(m.abi, pfn+n, prot)
		n++
	})
	if errors.Is(err, pgtable.ErrUsed) && m.entries[at.VA].None() {
		m.t.Fatalf("%v, but it is none", err)
	}
	return n
}

func (m *treeModel) opSet() {
	r := m.drawRange("set")
	rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(m.t, "entries"), 0))
	for va := r.First; va < r.Last; va += pageSize {
		c, err := m.tree.LockPTEs(va, true)
		m.must(err)
		for i := va.Index(x86.LevelPTE); i < 512 && c.Addr(i) < r.Last; i++ {
			e := m.randomEntry(rnd)
			if rnd.IntN(20) == 0 {
				e = testMarker
			}
			if rnd.IntN(2) == 0 {
				if old := c.GetAndClear(i); !old.None() && old != m.entries[c.Addr(i)] {
					m.t.Fatalf("GetAndClear at %v: %#x, want %#x", c.Addr(i), uint64(old), uint64(m.entries[c.Addr(i)]))
				}
			}
			c.Set(i, e)
			va = c.Addr(i)
			m.entries[va] = e
		}
		c.Unlock()
	}
}

func (m *treeModel) opZap() {
	r := m.drawRange("zap")
	z := pgtable.Zap{FreeTables: rapid.Bool().Draw(m.t, "free tables")}
	if rapid.Bool().Draw(m.t, "marker") {
		z.Marker = testMarker
	}
	keep := rapid.Bool().Draw(m.t, "keep others")
	var wantPages, gotPages []x86.Virt
	z.Present = func(c pgtable.PTECursor, pages *pgtable.Bitmap, old *physmem.Table) {
		for i := range pages.All() {
			gotPages = append(gotPages, c.Addr(i))
			if x86.PTE(old[i]) != m.entries[c.Addr(i)] {
				m.t.Fatalf("zap hands over %#x at %v, want %#x", old[i], c.Addr(i), uint64(m.entries[c.Addr(i)]))
			}
		}
		*pages = pgtable.Bitmap{} // which is allowed
	}
	if keep {
		z.Other = func(va x86.Virt, e x86.PTE) x86.PTE {
			if isMarker(e) {
				return 0
			}
			return e
		}
	}
	before := cloneEntries(m.entries)
	want := m.rewrite(r, func(va x86.Virt, e x86.PTE) (x86.PTE, bool) {
		switch {
		case e.None():
			return e, false
		case e.Present():
			wantPages = append(wantPages, va)
			if z.Marker != 0 && e.UffdWP() {
				return z.Marker, true
			}
			return 0, true
		case keep && !isMarker(e):
			return e, false
		}
		return 0, false
	})
	after := m.entries
	m.entries = before // what Present compares with
	got, err := m.gather(func(g *pgtable.Gather) error { return m.tree.Zap(g, r, &z) })
	m.must(err)
	m.entries = after
	if !slices.Equal(gotPages, wantPages) {
		m.t.Fatalf("zap handed over %d pages, want %d", len(gotPages), len(wantPages))
	}
	if !slices.ContainsFunc(m.flushed, func(f pgtable.Flush) bool { return f.FreedTables }) {
		m.sameFlush(got, want)
	}
}

func (m *treeModel) opUnmap() {
	r := m.drawRange("unmap")
	m.must(m.tree.Unmap(r, nil))
	eachPage(r, func(va x86.Virt) { delete(m.entries, va) })
}

// opFreeTables frees the tables of a window that is empty, or finds that it is not.
func (m *treeModel) opFreeTables() {
	w := m.windows[rapid.IntRange(0, len(m.windows)-1).Draw(m.t, "window")]
	r := pgtable.Range{First: w, Last: w + windowPages*pageSize - 1}
	if rapid.Bool().Draw(m.t, "empty") {
		m.must(m.tree.Unmap(r, nil))
		eachPage(r, func(va x86.Virt) { delete(m.entries, va) })
	}
	used := false
	var floor, ceiling x86.Virt // the mapped neighbours
	for va, e := range m.entries {
		switch {
		case e.None():
		case va < r.First:
			floor = max(floor, va+pageSize)
		case va > r.Last:
			ceiling = min(ceiling-1, va-1) + 1
		}
	}
	// Tables around that are empty but there hold as well: nobody frees them before, as the kernel would have.
	all := pgtable.Range{First: 0, Last: m.tree.Limit() - 1}
	m.must(m.tree.EachPMD(all, false, func(s pgtable.PMDSlot) error {
		switch {
		case s.Last >= r.First && s.First <= r.Last:
		case !s.HasTable() && (s.First>>30 == r.First>>30 || s.First>>30 == r.Last>>30):
			// An empty slot counts where it shows that another PMD table is there.
		case s.First < r.First:
			floor = max(floor, s.First+pageSize)
		default:
			ceiling = min(ceiling-1, s.First-1) + 1
		}
		return nil
	}))
	whole := func(va x86.Virt) bool { // the table for va is to be freed
		start := va &^ (tableSpan - 1)
		return start >= floor && start+tableSpan-1 <= ceiling-1
	}
	eachPage(r, func(va x86.Virt) { used = used || !m.entries[va].None() && whole(va) })
	before := m.tree.Tables(x86.LevelPTE)
	_, err := m.gather(func(g *pgtable.Gather) error { return m.tree.FreeTables(g, r, floor, ceiling) })
	switch {
	case err == nil && used || err != nil && !used:
		m.t.Fatalf("entries in use: %v; FreeTables: %v", used, err)
	case err != nil && !errors.Is(err, pgtable.ErrUsed):
		m.t.Fatal(err)
	case err == nil:
		eachPage(r, func(va x86.Virt) {
			if c, err := m.tree.LockPTEs(va, false); err == nil && whole(va) {
				m.t.Fatalf("table for %v is still there, floor %v, ceiling %v", va, floor, ceiling)
			} else if err == nil {
				c.Unlock()
			}
		})
	}
	freed := slices.ContainsFunc(m.flushed, func(f pgtable.Flush) bool { return f.FreedTables })
	if fewer := m.tree.Tables(x86.LevelPTE) < before; fewer && !freed {
		m.t.Fatal("tables freed without a flush")
	}
}

func cloneEntries(m map[x86.Virt]x86.PTE) map[x86.Virt]x86.PTE {
	c := make(map[x86.Virt]x86.PTE, len(m))
	for va, e := range m {
		c[va] = e
	}
	return c
}
