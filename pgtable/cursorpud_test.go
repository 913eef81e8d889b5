package pgtable_test

import (
	"errors"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

const (
	gigaVA  = 0x40000000
	gigaVal = 0x80000000800000e7 // frame 0x80000
)

func lockPUDs(t *testing.T, tree *pgtable.Tree, va x86.Virt) pgtable.PUDCursor {
	t.Helper()
	c, err := tree.LockPUDs(va, true)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPUDCursor(t *testing.T) {
	for _, abi := range testABIs() {
		tree := newTree(t, abi, 4096)
		if _, err := tree.LockPUDs(gigaVA, false); !errors.Is(err, pgtable.ErrNoTable) {
			t.Errorf("no table: %v", err)
		}
		if _, err := tree.LockPUDs(tree.Limit(), true); !errors.Is(err, pgtable.ErrRange) {
			t.Errorf("above the limit: %v", err)
		}
		c := lockPUDs(t, tree, gigaVA)
		if c.VA() != 0 || c.Addr(1) != gigaVA || c.Tree() != tree {
			t.Errorf("table for %v, slot 1 for %v", c.VA(), c.Addr(1))
		}
		c.Set(1, gigaVal)
		if c.TestAndClearYoung(1); c.Get(1) != gigaVal-0x20 || c.TestAndClearYoung(1) {
			t.Errorf("made old: %#x", uint64(c.Get(1)))
		}
		if !c.SetAccessFlags(1, gigaVal, false) || c.Get(1) != gigaVal-0x20 || !c.SetAccessFlags(1, gigaVal, true) ||
			c.SetAccessFlags(1, gigaVal, true) || c.Get(1) != gigaVal {
			t.Errorf("access flags: %#x", uint64(c.Get(1)))
		}
		if c.SetWrProtect(1); c.Get(1).Write() {
			t.Errorf("write-protected: %#x", uint64(c.Get(1)))
		}
		c.Set(1, gigaVal)
		// No processor may use what is invalid, and the frame is stored inverted.
		if old := c.Invalidate(1); old != gigaVal || c.Get(1).Present() || c.Get(1).PFN(abi) != 0x80000 || !c.Get(1).Leaf(x86.MustABI(x86.Linux7_2(), abi.Paging())) {
			t.Errorf("invalid: %#x, was %#x", uint64(c.Get(1)), uint64(old))
		}
		c.Unlock()
		if err := tree.Map(pgtable.Range{First: gigaVA, Last: gigaVA + pageSize - 1}, 1, x86.ProtShared); !errors.Is(err, pgtable.ErrHuge) {
			t.Errorf("mapped under a leaf: %v", err)
		}
		c = lockPUDs(t, tree, gigaVA)
		if old := c.GetAndClear(1); old.None() || !c.Get(1).None() {
			t.Errorf("cleared %#x", uint64(old))
		}
		c.Unlock()
		if err := tree.Map(pgtable.Range{First: gigaVA, Last: gigaVA + pageSize - 1}, 1, x86.ProtShared); err != nil {
			t.Error(err)
		}
	}
}

// TestPUDCursorKeepsTables: a pointer to a table cannot be lost, nor made.
func TestPUDCursorKeepsTables(t *testing.T) {
	tree := newTree(t, abi7(), 4096)
	if err := tree.Map(pgtable.Range{First: gigaVA, Last: gigaVA + pageSize - 1}, 1, x86.ProtShared); err != nil {
		t.Fatal(err)
	}
	c := lockPUDs(t, tree, gigaVA)
	defer c.Unlock()
	for _, f := range []func(){func() { c.GetAndClear(1) }, func() { c.Set(2, x86.PUD(c.Get(1))) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		}()
	}
}

func TestCheckPUDs(t *testing.T) {
	for _, c := range []struct {
		entry x86.PUD
		want  string
	}{
		{gigaVal, ""},
		{x86.PUD(gigaVal).MkInvalid(abi7()), ""},
		{gigaVal | x86.PagePATLarge, ""},
		{gigaVal + 0x200000, "not one of its size"},
		{gigaVal &^ (x86.PagePSE | x86.PagePresent), "neither empty nor a table"},
	} {
		tree := newTree(t, abi7(), 4096)
		p := lockPUDs(t, tree, gigaVA)
		p.Set(1, c.entry)
		p.Unlock()
		err := tree.Check()
		var where *pgtable.CheckError
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%#x: %v, want %q", uint64(c.entry), err, c.want)
		case c.want != "" && (!errors.As(err, &where) || where.VA != gigaVA || where.Slot != 1 || where.Level != x86.LevelPUD):
			t.Errorf("%#x: %+v", uint64(c.entry), where)
		}
		p = lockPUDs(t, tree, gigaVA)
		p.Set(1, 0)
		p.Unlock()
	}
}

// pudsUnknown changes 2 MiB leaves only.
type pudsUnknown struct{ pgtable.HugePMDs }

func TestProtectPUDNeedsSomebody(t *testing.T) {
	tree := newTree(t, abi7(), 4096)
	c := lockPUDs(t, tree, gigaVA)
	c.Set(1, gigaVal)
	c.Unlock()
	for _, h := range []pgtable.HugePMDs{nil, pudsUnknown{}} {
		p, err := pgtable.NewProtection(abi7(), pgtable.ProtectionArgs{Prot: x86.ProtReadonly, Huge: h})
		if err != nil {
			t.Fatal(err)
		}
		var g pgtable.Gather
		g.Start(tree, nil)
		_, err = tree.ChangeProtection(&g, pgtable.Range{First: 0, Last: 2*gigaVA - 1}, p)
		var where *pgtable.AddrError
		if !errors.Is(err, pgtable.ErrHuge) || !errors.As(err, &where) || where.VA != gigaVA {
			t.Errorf("error %v", err)
		}
		g.Finish()
	}
}

// TestHugeFrame: the frames of a huge page are free after the flush, not before.
func TestHugeFrame(t *testing.T) {
	tree := newTree(t, abi7(), 4096)
	ram := tree.RAM()
	pfn, err := ram.AllocHuge()
	if err != nil {
		t.Fatal(err)
	}
	used := ram.Used()
	var g pgtable.Gather
	g.Start(tree, flushFunc(func(pgtable.Flush) {
		if ram.Used() != used {
			t.Error("freed before the flush")
		}
	}))
	g.HugeFrame(pfn)
	g.Range(pgtable.Range{First: 0x200000, Last: 0x3fffff}, x86.LevelPMD)
	if err := g.Pay(); err != nil || ram.Used() != used-physmem.BlockFrames {
		t.Errorf("%v, %d frames in use, want %d", err, ram.Used(), used-physmem.BlockFrames)
	}
	if err := g.Pay(); err != nil {
		t.Errorf("nothing is left to free: %v", err)
	}
	g.HugeFrame(pfn)
	if err := g.Finish(); !errors.Is(err, physmem.ErrNotAllocated) {
		t.Errorf("freed twice: %v", err)
	}
}

type flushFunc func(pgtable.Flush)

func (f flushFunc) FlushTLB(_ *pgtable.Tree, d pgtable.Flush) { f(d) }

// TestMoveWhole: the table itself goes where nothing is; onto an empty table its entries go, and become soft-dirty.
func TestMoveWhole(t *testing.T) {
	const from, to = 0x400000, gigaVA + 0x600000
	for _, empty := range []bool{false, true} {
		tree := newTree(t, abi7(), 4096)
		r := pgtable.Range{First: from, Last: from + tableSpan - 1}
		if err := tree.Map(r, 0x1000, x86.ProtShared); err != nil {
			t.Fatal(err)
		}
		c, err := tree.LockPTEs(from, false)
		if err != nil {
			t.Fatal(err)
		}
		table, first := c.PFN(), c.Get(0)
		c.Unlock()
		if empty {
			if c, err = tree.LockPTEs(to, true); err != nil {
				t.Fatal(err)
			}
			c.Unlock()
		}
		var g pgtable.Gather
		g.Start(tree, nil)
		if err := tree.Move(&g, r, to, &pgtable.Move{Whole: true}); err != nil {
			t.Fatal(err)
		}
		if f, _ := g.Owed(); f.Range != r || f.Levels != 1<<x86.LevelPTE || f.FreedTables == empty {
			t.Errorf("empty %v: owed %+v", empty, f)
		}
		if err := errors.Join(g.Finish(), tree.Check()); err != nil {
			t.Fatal(err)
		}
		if c, err = tree.LockPTEs(to, false); err != nil {
			t.Fatal(err)
		}
		want := first
		if empty {
			want = first.MkSoftDirty()
		}
		if c.Get(0) != want || (c.PFN() == table) == empty || c.VA() != to || c.Used() != 512 {
			t.Errorf("empty %v: table %#x for %v, first entry %#x", empty, uint64(c.PFN()), c.VA(), uint64(c.Get(0)))
		}
		c.Unlock()
		c, err = tree.LockPTEs(from, false)
		if errors.Is(err, pgtable.ErrNoTable) == empty {
			t.Errorf("empty %v: where it was: %v", empty, err)
		}
		if err == nil {
			c.Unlock()
		}
	}
}
