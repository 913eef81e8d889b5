package pgtable_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// TestPTECursor tries the methods on one table against what the kernel's functions of those names do.
func TestPTECursor(t *testing.T) {
	for _, k := range x86.Kernels() {
		abi := x86.MustABI(k, x86.DefaultPaging(4))
		tree := newTree(t, abi, 512)
		const va = 0x40000000 + 5*tableSpan
		c, err := tree.LockPTEs(va+77*pageSize, true)
		if err != nil {
			t.Fatal(err)
		}
		if c.VA() != va || c.Addr(77) != va+77*pageSize || c.Tree() != tree || c.Used() != 0 {
			t.Errorf("cursor for %v: %v, %d used", x86.Virt(va), c.VA(), c.Used())
		}
		w := x86.MkPTE(abi, 0x12345, x86.ProtShared).MkDirty(abi)
		c.SetRange(10, 20, w)
		none := x86.MkPTE(abi, 0x12345, x86.ProtNone)
		c.SetRange(40, 3, none)
		for i := range x86.PFN(20) {
			if e := c.Get(10 + int(i)); e.PFN(abi) != 0x12345+i || e.Flags(abi) != w.Flags(abi) {
				t.Errorf("%s: entry %d is %#x", k.Release, 10+i, uint64(e))
			}
		}
		if e := c.Get(42); e.PFN(abi) != 0x12347 || c.Used() != 23 {
			t.Errorf("%s: entry %#x, %d used", k.Release, uint64(e), c.Used())
		}
		c.SetWrProtect(10)
		want := x86.PTE(0x8000000012345865)
		if k.SavedDirty {
			want = 0x8400000012345825
		}
		if e := c.Get(10); e != want {
			t.Errorf("%s: write-protected %#x, want %#x", k.Release, uint64(e), uint64(want))
		}
		if !c.TestAndClearYoung(11) || c.TestAndClearYoung(11) || c.Get(11) != (w.AdvancePFN(1)).MkOld() {
			t.Errorf("%s: aged %#x", k.Release, uint64(c.Get(11)))
		}
		if c.SetAccessFlags(12, c.Get(12), true) || !c.SetAccessFlags(12, 0x1067, false) || c.Get(12) == 0x1067 ||
			!c.SetAccessFlags(12, 0x1067, true) || c.Get(12) != 0x1067 {
			t.Errorf("%s: SetAccessFlags leaves %#x", k.Release, uint64(c.Get(12)))
		}
		if old := c.GetAndClear(12); old != 0x1067 || c.Get(12) != 0 || c.Used() != 22 {
			t.Errorf("%s: GetAndClear: %#x, %d used", k.Release, uint64(old), c.Used())
		}
		c.Clear(13)
		c.Table()[14] = x86.PageKnlErratumMask // none
		c.Table()[15] = 0
		c.Recount()
		if c.Used() != 19 {
			t.Errorf("%s: %d used", k.Release, c.Used())
		}
		c.Unlock()
	}
}

func TestMapFrames(t *testing.T) {
	tree := newTree(t, abi7(), 1024)
	const va = 0x40000000 - 3*pageSize
	frames := []x86.PFN{9, 4, 7, 7, 1 << 30, 2}
	if err := tree.MapFrames(va, nil, x86.ProtShared); err != nil {
		t.Error(err)
	}
	if err := tree.MapFrames(va, frames, x86.ProtNone); err != nil {
		t.Fatal(err)
	}
	for i, pfn := range frames {
		path := tree.Walk(va+x86.Virt(i)*pageSize, nil)
		if e := x86.PTE(path[len(path)-1].Value); e.PFN(tree.ABI()) != pfn || !e.Protnone() {
			t.Errorf("page %d: %#x", i, uint64(e))
		}
	}
	var at *pgtable.AddrError
	if err := tree.MapFrames(va-pageSize, frames, x86.ProtShared); !errors.Is(err, pgtable.ErrUsed) || !errors.As(err, &at) || at.VA != va {
		t.Errorf("mapped twice: %v", err)
	}
}

// TestConcurrentRanges: neighbours that share all tables but the last map and unmap, and free what only they use.
func TestConcurrentRanges(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 40
	}
	tree := newTree(t, abi7(), 4096)
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	const span = 2 * tableSpan
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			own := pgtable.Range{First: 1<<30 - span*2 + x86.Virt(n)*span}
			own.Last = own.First + span - 1
			for range rounds {
				r := own
				r.First += x86.Virt(rnd.IntN(600)) * pageSize
				if err := tree.Map(r, 0x1000, x86.ProtShared); err != nil {
					t.Error(err)
					return
				}
				if n, err := tree.Young(own, true, nil, nil); err != nil || n != int((r.Last-r.First+1)/pageSize) {
					t.Errorf("%d young pages, %v", n, err)
				}
				var g pgtable.Gather
				g.Start(tree, nil)
				if err := tree.Zap(&g, own, &pgtable.Zap{}); err != nil {
					t.Error(err)
				}
				floor, ceiling := own.First, own.Last+1
				if err := tree.FreeTables(&g, own, floor, ceiling); err != nil {
					t.Error(err)
				}
				if err := g.Finish(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := tree.Tables(x86.LevelPTE); n != 0 {
		t.Errorf("%d PTE tables left", n)
	}
}
