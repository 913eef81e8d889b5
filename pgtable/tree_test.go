package pgtable_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// TestLayout compares the entries of a tree, root first, with what Linux writes.
func TestLayout(t *testing.T) {
	const enc = 1 << 51
	for _, levels := range []int{4, 5} {
		p := x86.DefaultPaging(levels)
		p.EncMask = enc
		tree := newTree(t, x86.MustABI(x86.Linux6_12(), p), 1024)
		const va = 0x7fff_ffff_f000
		if err := tree.Map(pgtable.Range{First: va, Last: va + 0xfff}, 0x12345, x86.ProtShared); err != nil {
			t.Fatal(err)
		}
		path := tree.Walk(va, nil)
		if len(path) != levels || path[levels-1].Value != 0x8000000012345027 || path[0].Place.PFN() != tree.Root() {
			t.Fatalf("%d levels: %+v", levels, path)
		}
		for i, e := range path[:levels-1] {
			next := uint64(path[i+1].Place.PFN()) << 12
			if e.Value != next|0x67|enc {
				t.Errorf("%v entry %#x, the next table is at %#x", e.Level, e.Value, next)
			}
			if want := uint64(va)>>e.Level.Shift()&511*8 + uint64(e.Place.PFN())<<12; uint64(e.Place) != want {
				t.Errorf("%v entry at %v, want %#x", e.Level, e.Place, want)
			}
		}
	}
}

// TestTablesAreContiguous: the PTE tables of a PMD come out side by side.
func TestTablesAreContiguous(t *testing.T) {
	tree := newTree(t, abi7(), 2048)
	r := pgtable.Range{First: 1 << 30, Last: 1<<31 - 1}
	if err := tree.Map(r, 0, x86.ProtReadonly); err != nil {
		t.Fatal(err)
	}
	var last x86.PFN
	n := 0
	err := tree.EachPMD(r, false, func(s pgtable.PMDSlot) error {
		c, err := s.LockPTEs()
		if err != nil {
			return err
		}
		defer c.Unlock()
		if n > 0 && c.PFN() != last+1 {
			t.Errorf("table %d in frame %#x, the one before in %#x", n, uint64(c.PFN()), uint64(last))
		}
		if next := s.Next(); (next == nil) != (n == 511) || next != nil && next != tree.RAM().Table(c.PFN()+1) {
			t.Errorf("table %d: wrong next table", n)
		}
		last = c.PFN()
		n++
		return nil
	})
	if err != nil || n != 512 {
		t.Errorf("%d tables, %v", n, err)
	}
}

func TestRangeErrors(t *testing.T) {
	tree := newTree(t, abi7(), 512)
	limit := tree.Limit()
	for _, r := range []pgtable.Range{
		{First: 1, Last: 0xfff}, {First: 0, Last: 0xffe}, {First: 0x1000, Last: 0xfff}, {First: limit, Last: limit + 0xfff},
		{First: limit - 0x1000, Last: limit + 0xfff}, pgtable.All,
	} {
		if err := tree.Map(r, 0, x86.ProtShared); !errors.Is(err, pgtable.ErrRange) {
			t.Errorf("Map(%v): %v", r, err)
		}
	}
	for _, va := range []x86.Virt{limit, ^x86.Virt(0)} {
		if _, err := tree.LockPTEs(va, true); !errors.Is(err, pgtable.ErrRange) {
			t.Errorf("LockPTEs(%v): %v", va, err)
		}
		if _, err := tree.LockPMDs(va, true); !errors.Is(err, pgtable.ErrRange) {
			t.Errorf("LockPMDs(%v): %v", va, err)
		}
	}
}

func lockPMDs(t *testing.T, tree *pgtable.Tree, va x86.Virt) pgtable.PMDCursor {
	t.Helper()
	c, err := tree.LockPMDs(va, true)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHugeEntry: a leaf in a PMD slot stops PTE operations, or goes to their Huge function.
func TestHugeEntry(t *testing.T) {
	tree := newTree(t, abi7(), 1024)
	const va = 0x40000000
	leaf := x86.MkPMD(tree.ABI(), 0x200, x86.ProtShared).MkHuge().MkYoung()
	c := lockPMDs(t, tree, va)
	c.Set(0, leaf)
	if !c.TestAndClearYoung(0) || c.TestAndClearYoung(0) || c.Get(0) != leaf.MkOld() {
		t.Errorf("entry %#x after aging", uint64(c.Get(0)))
	}
	if c.SetAccessFlags(0, leaf.MkOld(), true) || !c.SetAccessFlags(0, leaf, false) || !c.SetAccessFlags(0, leaf, true) || c.Get(0) != leaf {
		t.Errorf("entry %#x after SetAccessFlags", uint64(c.Get(0)))
	}
	if old := c.InvalidateAD(0); old != leaf || c.Get(0) != leaf.MkInvalid(tree.ABI()) {
		t.Errorf("InvalidateAD: %#x, then %#x", uint64(old), uint64(c.Get(0)))
	}
	if old := c.Establish(0, leaf); old != leaf.MkInvalid(tree.ABI()) {
		t.Errorf("Establish: %#x", uint64(old))
	}
	c.SetWrProtect(0)
	if c.Get(0) != leaf.WrProtect(tree.ABI()) {
		t.Errorf("entry %#x after SetWrProtect", uint64(c.Get(0)))
	}
	c.Unlock()

	if _, err := tree.LockPTEs(va, true); err != pgtable.ErrHuge {
		t.Errorf("LockPTEs: %v", err)
	}
	r := pgtable.Range{First: va, Last: va + 3*tableSpan - 1}
	if err := tree.Map(r, 0, x86.ProtShared); !errors.Is(err, pgtable.ErrHuge) {
		t.Errorf("Map: %v", err)
	}
	if _, err := tree.Young(r, false, nil, nil); !errors.Is(err, pgtable.ErrHuge) {
		t.Errorf("Young: %v", err)
	}
	var met []x86.Virt
	huge := func(s pgtable.PMDSlot) (bool, error) {
		met = append(met, s.First)
		if s.Entry != leaf.WrProtect(tree.ABI()) || !s.Whole() {
			t.Errorf("slot %+v", s)
		}
		return false, nil
	}
	if n, err := tree.Young(r, false, nil, huge); err != nil || n != 0 || !slices.Equal(met, []x86.Virt{va}) {
		t.Errorf("Young: %d, %v, met %v", n, err, met)
	}
	c = lockPMDs(t, tree, va)
	if c.GetAndClear(0) != leaf.WrProtect(tree.ABI()) {
		t.Error("GetAndClear")
	}
	c.Unlock()
}

// TestDeposit: deposited tables come back last first, with their content; a table moves between its places.
func TestDeposit(t *testing.T) {
	tree := newTree(t, abi7(), 1024)
	const va = 0x40000000
	if err := tree.Map(pgtable.Range{First: va, Last: va + tableSpan - 1}, 0, x86.ProtShared); err != nil {
		t.Fatal(err)
	}
	fresh, err := tree.AllocTable()
	if err != nil {
		t.Fatal(err)
	}
	c := lockPMDs(t, tree, va)
	old, taken := c.TakeTable(0)
	if uint64(old) != uint64(taken)<<12|0x67 || c.Get(0) != 0 {
		t.Errorf("TakeTable: %#x, frame %#x", uint64(old), uint64(taken))
	}
	c.Deposit(taken)
	c.Deposit(fresh)
	if c.Deposited() != 2 {
		t.Errorf("%d deposited", c.Deposited())
	}
	c.Unlock()
	if err := tree.Check(); err != nil {
		t.Error(err)
	}
	if n := tree.Tables(x86.LevelPTE); n != 2 {
		t.Errorf("%d PTE tables", n)
	}
	c = lockPMDs(t, tree, va)
	for i, want := range []x86.PFN{fresh, taken} {
		pfn, ok := c.Withdraw()
		if !ok || pfn != want {
			t.Fatalf("withdrew %#x, want %#x", uint64(pfn), uint64(want))
		}
		p := tree.LockTable(pfn, c.Addr(i))
		if n := p.Used(); n != i*512 {
			t.Errorf("%d entries in the withdrawn table, want %d", n, i*512)
		}
		p.Set(7, 1<<9)
		p.Unlock()
		c.Populate(i, pfn)
	}
	if _, ok := c.Withdraw(); ok {
		t.Error("withdrew a third table")
	}
	p, ok := c.LockPTEs(1)
	if !ok || p.Get(7) != 1<<9 || p.Get(8) == 0 || p.VA() != va+tableSpan {
		t.Error("the second slot has another table")
	}
	p.Unlock()
	c.Unlock()
	spare, err := tree.AllocTable()
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Check(); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("a table that hangs nowhere: %v", err)
	}
	tree.FreeTable(spare)
}

// TestGather: what is owed, and when it is paid.
func TestGather(t *testing.T) {
	tree := newTree(t, abi7(), 1024)
	const va = 0x40000000
	r := pgtable.Range{First: va, Last: va + 2*tableSpan - 1}
	if err := tree.Map(r, 0, x86.ProtShared); err != nil {
		t.Fatal(err)
	}
	var got flushes
	var g, other pgtable.Gather
	g.Start(tree, &got)
	if _, owed := g.Owed(); owed || !tree.FlushPending() {
		t.Errorf("at the start: owed %v, pending %v", owed, tree.FlushPending())
	}
	zap := pgtable.Range{First: va + 5*pageSize, Last: va + tableSpan + 3*pageSize - 1}
	if err := tree.Zap(&g, zap, &pgtable.Zap{}); err != nil {
		t.Fatal(err)
	}
	frame, err := tree.RAM().Alloc(physmem.UsePage)
	if err != nil {
		t.Fatal(err)
	}
	g.Frame(frame)
	if _, used := tree.RAM().UseOf(frame); !used || len(got) != 0 {
		t.Error("paid before Pay")
	}
	if err := g.Pay(); err != nil {
		t.Fatal(err)
	}
	want := pgtable.Flush{Range: zap, Levels: 1 << x86.LevelPTE}
	if _, used := tree.RAM().UseOf(frame); used || !slices.Equal(got, flushes{want}) {
		t.Errorf("flushed %+v, want %+v; frame in use %v", got, want, used)
	}
	if err := tree.Check(); err == nil {
		t.Error("Check finds no gather under way")
	}
	got = nil
	// A PTE table is one entry of the PMD table.
	if err := tree.Zap(&g, r, &pgtable.Zap{FreeTables: true}); err != nil {
		t.Fatal(err)
	}
	if n := tree.Tables(x86.LevelPTE); n != 2 {
		t.Errorf("tables freed before the flush: %d left", n)
	}
	other.Start(tree, nil)
	if err := other.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := g.Finish(); err != nil {
		t.Fatal(err)
	}
	want = pgtable.Flush{Range: r, Levels: 1<<x86.LevelPTE | 1<<x86.LevelPMD, FreedTables: true}
	if !slices.Equal(got, flushes{want}) || tree.Tables(x86.LevelPTE) != 0 || tree.FlushPending() {
		t.Errorf("flushed %+v, want %+v; %d tables left", got, want, tree.Tables(x86.LevelPTE))
	}
	// Two gathers at a time: the first to finish flushes all.
	got = nil
	g.Start(tree, &got)
	other.Start(tree, nil)
	g.Range(pgtable.Range{First: va, Last: va + 0xfff}, x86.LevelPTE)
	if err := g.Finish(); err != nil || len(got) != 1 || !got[0].All {
		t.Errorf("nested gather: %+v, %v", got, err)
	}
	if err := other.Finish(); err != nil {
		t.Fatal(err)
	}
	got = nil
	g.Start(tree, &got)
	if err := g.Finish(); err != nil || len(got) != 0 {
		t.Errorf("nothing owed, flushed %+v, %v", got, err)
	}
}

// TestFreeTablesKeepsNeighbours: tables that reach over floor or ceiling stay.
func TestFreeTablesKeepsNeighbours(t *testing.T) {
	for _, c := range []struct {
		name           string
		floor, ceiling x86.Virt
		left           [3]int // PTE, PMD, PUD tables
	}{
		{"nothing around", 0, 0, [3]int{0, 0, 0}},
		{"neighbour in the first table", 1<<30 - tableSpan + pageSize, 0, [3]int{1, 1, 1}},
		{"neighbour in the first PMD table", 1<<30 - 5*tableSpan, 0, [3]int{0, 1, 1}},
		{"neighbour in the PUD table", 1 << 29, 1 << 38, [3]int{0, 1, 1}},
		{"neighbours one table away", 1<<30 - tableSpan, 1<<30 + tableSpan, [3]int{0, 2, 1}},
		{"neighbour in the last table", 0, 1<<30 + tableSpan - 0x1000, [3]int{1, 1, 1}},
		{"neighbour in the last PMD table", 0, 1<<31 - 1, [3]int{0, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := newTree(t, abi7(), 1024)
			// Two tables on the two sides of 1 GiB.
			r := pgtable.Range{First: 1<<30 - tableSpan + 8*pageSize, Last: 1<<30 + tableSpan - 8*pageSize - 1}
			if err := tree.Map(r, 0, x86.ProtShared); err != nil {
				t.Fatal(err)
			}
			var g pgtable.Gather
			g.Start(tree, nil)
			if err := tree.FreeTables(&g, r, c.floor, c.ceiling); c.left[0] < 2 && !errors.Is(err, pgtable.ErrUsed) {
				t.Errorf("tables in use freed: %v", err)
			}
			if err := tree.Zap(&g, r, &pgtable.Zap{}); err != nil {
				t.Fatal(err)
			}
			if err := tree.FreeTables(&g, r, c.floor, c.ceiling); err != nil {
				t.Fatal(err)
			}
			if err := g.Finish(); err != nil {
				t.Fatal(err)
			}
			got := [3]int{tree.Tables(x86.LevelPTE), tree.Tables(x86.LevelPMD), tree.Tables(x86.LevelPUD)}
			if got != c.left {
				t.Errorf("%v tables left, want %v", got, c.left)
			}
		})
	}
}

// TestCheckFinds breaks a tree in every way that Check knows and looks for what it says.
func TestCheckFinds(t *testing.T) {
	const va = 0x40000000
	build := func(t *testing.T) (*pgtable.Tree, []pgtable.Entry) {
		ram, err := physmem.NewRAM(testBase, 1024)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ram.Close() })
		tree, err := pgtable.New(ram, abi7())
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Map(pgtable.Range{First: va, Last: va + 2*tableSpan - 1}, 0, x86.ProtShared); err != nil {
			t.Fatal(err)
		}
		if err := tree.Check(); err != nil {
			t.Fatal(err)
		}
		return tree, tree.Walk(va, nil)
	}
	poke := func(tree *pgtable.Tree, e pgtable.Entry, v uint64) {
		tree.RAM().Table(e.Place.PFN())[e.Place.Offset()/8] = v
	}
	for _, c := range []struct {
		name, want string
		slot       int
		do         func(tree *pgtable.Tree, path []pgtable.Entry)
	}{
		{"lock held", "lock left held", -1, func(tree *pgtable.Tree, _ []pgtable.Entry) { tree.LockPTEs(va, false) }},
		{"PMD lock held", "lock left held", -1, func(tree *pgtable.Tree, _ []pgtable.Entry) { tree.LockPMDs(va, false) }},
		{"linked twice", "linked twice", -1, func(tree *pgtable.Tree, p []pgtable.Entry) {
			tree.RAM().Table(p[2].Place.PFN())[1] = p[2].Value
		}},
		{"outside", "outside the memory", -1, func(tree *pgtable.Tree, p []pgtable.Entry) { poke(tree, p[2], 0x67) }},
		{"freed", "not allocated as a table", -1, func(tree *pgtable.Tree, p []pgtable.Entry) {
			if err := tree.RAM().Free(p[3].Place.PFN()); err != nil {
				t.Error(err)
			}
		}},
		{"flags", "flags that no table has: 0x4", 0, func(tree *pgtable.Tree, p []pgtable.Entry) { poke(tree, p[2], p[2].Value&^4) }},
		{"count", "511 entries in use, 512 counted", -1, func(tree *pgtable.Tree, p []pgtable.Entry) { poke(tree, p[3], 0) }},
		{"lost", "nothing leads to it", -1, func(tree *pgtable.Tree, p []pgtable.Entry) { poke(tree, p[2], 0) }},
		{"upper entry", "neither empty nor a table", 0, func(tree *pgtable.Tree, p []pgtable.Entry) { poke(tree, p[0], 0x1000) }},
		{"wrong place", "state says", -1, func(tree *pgtable.Tree, p []pgtable.Entry) {
			pmds := tree.RAM().Table(p[2].Place.PFN())
			pmds[0], pmds[1] = pmds[1], pmds[0]
		}},
		{"gather", "1 gathers not finished", -1, func(tree *pgtable.Tree, _ []pgtable.Entry) {
			new(pgtable.Gather).Start(tree, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree, path := build(t)
			c.do(tree, path)
			err := tree.Check()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Check says %v, want %q", err, c.want)
			}
			var ce *pgtable.CheckError
			if !errors.As(err, &ce) || ce.Slot != c.slot && c.slot >= 0 {
				t.Errorf("%+v", ce)
			}
		})
	}
}

// TestOutOfMemory: an operation that runs out of frames leaves a sound tree, whatever frame it lacks.
func TestOutOfMemory(t *testing.T) {
	for free := range uint64(6) {
		tree := newTree(t, x86.MustABI(x86.Linux6_1(), x86.DefaultPaging(5)), 1024)
		tree.RAM().SetLimit(tree.RAM().Used() + free)
		err := tree.Map(pgtable.Range{First: 0, Last: 2*tableSpan - 1}, 0, x86.ProtShared)
		if free < 5 != errors.Is(err, physmem.ErrNoMemory) {
			t.Errorf("%d frames: %v", free, err)
		}
		if err := tree.Check(); err != nil {
			t.Error(err)
		}
		if _, err := pgtable.New(tree.RAM(), tree.ABI()); free < 5 && !errors.Is(err, physmem.ErrNoMemory) {
			t.Errorf("second tree: %v", err)
		}
	}
}

// TestTreeIsACapture: the read-only walk sees in a capture of the memory what was mapped.
func TestTreeIsACapture(t *testing.T) {
	tree := newTree(t, abi7(), 1024)
	const va = 0x7f0000000000 - 600*pageSize
	r := pgtable.Range{First: va, Last: va + 1200*pageSize - 1}
	if err := tree.Map(r, 0x5000, x86.ProtReadonly); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := elfcore.Write(&buf, tree.RAM(), tree.RAM().Ranges(), nil); err != nil {
		t.Fatal(err)
	}
	f, err := elfcore.Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for _, mem := range []physmem.Reader{f, tree.Memory(), tree.RAM()} {
		v := &mappedPages{}
		if err := pgtable.Walk(mem, tree.ABI(), tree.Root(), pgtable.All, v); err != nil {
			t.Fatal(err)
		}
		for i, p := range v.found {
			if p.va != va+x86.Virt(i)*pageSize || p.e != x86.MkPTE(tree.ABI(), 0x5000+x86.PFN(i), x86.ProtReadonly) {
				t.Fatalf("page %d: %+v", i, p)
			}
		}
		if len(v.found) != 1200 {
			t.Errorf("%d pages", len(v.found))
		}
	}
}

type mappedPages struct {
	found []struct {
		va x86.Virt
		e  x86.PTE
	}
}

func (v *mappedPages) Enter(*pgtable.Table) (bool, error)           { return true, nil }
func (v *mappedPages) Slot(*pgtable.Table, int, pgtable.Slot) error { return nil }
func (v *mappedPages) Leave(*pgtable.Table) error                   { return nil }
func (v *mappedPages) Problem(p *pgtable.Problem) error             { return p.Err }
func (v *mappedPages) PTEs(t *pgtable.Table) error {
	for i, e := range t.Entries {
		if e != 0 {
			v.found = append(v.found, struct {
				va x86.Virt
				e  x86.PTE
			}{t.Addr(i), x86.PTE(e)})
		}
	}
	return nil
}
