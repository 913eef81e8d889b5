package pgtable_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// newTree returns an empty tree, which is checked and closed when the test ends.
func newTree(t testing.TB, abi *x86.ABI, frames uint64) *pgtable.Tree {
	t.Helper()
	ram, err := physmem.NewRAM(testBase, frames)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := pgtable.New(ram, abi)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Check(); err != nil {
			t.Error(err)
		}
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
		if n := ram.Used(); n != 0 {
			t.Errorf("%d frames still in use", n)
		}
		if err := ram.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

func abi7() *x86.ABI { return x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(4)) }

// TestNoAccessIsLost: processors use pages while others change, harvest and clean them. Every A and every D that a
// processor has set must be found by someone: in the tables at the end, or by a harvest that took it away.
func TestNoAccessIsLost(t *testing.T) {
	const (
		processors, changers = 3, 2
		pageCount            = 3 * 512
		first                = x86.Virt(0x40000000 - 512*pageSize)
	)
	rounds := 3000
	if testing.Short() {
		rounds = 600
	}
	tree := newTree(t, abi7(), 1024)
	r := pgtable.Range{First: first, Last: first + pageCount*pageSize - 1}
	if err := tree.Map(r, 0x1000, x86.ProtShared); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Young(r, true, nil, nil); err != nil {
		t.Fatal(err)
	}
	regs := mmu.LinuxRegs(uint64(tree.Root().Phys()), 4)
	unit, err := mmu.New(regs, regs.Paging(52, 0))
	if err != nil {
		t.Fatal(err)
	}
	var set, found [pageCount][2]atomic.Int32 // A, D: how often a processor set it; whether it was seen
	var working, all sync.WaitGroup
	var stop atomic.Bool
	var dirtied atomic.Int32
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	for p := range processors {
		working.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(p)))
			for n := 0; n < rounds || dirtied.Load() == 0; n++ {
				i := rnd.IntN(pageCount)
				a := mmu.Access{User: true}
				if rnd.IntN(2) == 0 {
					a.Kind = mmu.Write
				}
				w := unit.Walk(tree.Memory(), first+x86.Virt(i)*pageSize)
				if w.Outcome != mmu.Mapped || w.Refusal(a) != 0 {
					continue // protected just now
				}
				mark := w.Last().Entry
				err := w.Commit(a, tree)
				if errors.Is(err, mmu.ErrStale) {
					continue
				} else if err != nil {
					t.Error(err)
					return
				}
				if mark&x86.PageAccessed == 0 {
					set[i][0].Add(1)
				}
				if mark&x86.PageDirty == 0 && a.Kind == mmu.Write {
					set[i][1].Add(1)
					dirtied.Add(1)
				}
			}
		})
	}
	note := func(kind int) pgtable.PagesFunc {
		return func(c pgtable.PTECursor, pages *pgtable.Bitmap) {
			for i := range pages.All() {
				found[(c.Addr(i)-first)/pageSize][kind].Add(1)
			}
		}
	}
	for range changers {
		all.Go(func() {
			var g pgtable.Gather
			for n := 0; !stop.Load(); n++ {
				var err error
				g.Start(tree, nil)
				switch n % 6 {
				case 0:
					_, err = tree.Young(r, true, note(0), nil)
				case 2:
					_, err = tree.MkClean(&g, r, note(1), nil)
				case 4:
					err = tree.ClearSoftDirty(&g, r, &pgtable.SoftDirty{})
				default:
					err = makeWritable(tree, r)
				}
				if err != nil {
					t.Error(err)
				}
				if err := g.Finish(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	working.Wait()
	stop.Store(true)
	all.Wait()
	// What the tables still hold counts as found.
	if _, err := tree.Young(r, true, note(0), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Dirty(r, note(1), nil); err != nil {
		t.Fatal(err)
	}
	sum := [2]int32{}
	for i := range pageCount {
		for kind := range 2 {
			n, f := set[i][kind].Load(), found[i][kind].Load()
			sum[kind] += n
			// An A is taken away only by a harvest that notes it, so the numbers are equal. A D may be noted
			// more than once, never less than the times that it was set.
			if kind == 0 && n != f || kind == 1 && f < n {
				t.Errorf("page %d, bit %d: set %d times, found %d times", i, kind, n, f)
			}
		}
	}
	if sum[0] == 0 || sum[1] == 0 {
		t.Errorf("processors set %d A and %d D: nothing was tested", sum[0], sum[1])
	}
}

// makeWritable gives write permission back, entry by entry.
func makeWritable(tree *pgtable.Tree, r pgtable.Range) error {
	for va := r.First; va < r.Last; va += tableSpan {
		c, err := tree.LockPTEs(va, false)
		if err != nil {
			return err
		}
		for i := range 512 {
			c.Set(i, c.Get(i).MkWrite(tree.ABI()))
		}
		c.Unlock()
	}
	return nil
}

// TestConcurrentFaults: tables are made by many at once, each once.
func TestConcurrentFaults(t *testing.T) {
	tree := newTree(t, abi7(), 8192)
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	const n = 200
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 0)) // the same addresses in the same order for all
			for range n {
				va := x86.Virt(rnd.Uint64()) & (tree.Limit() - 1) &^ (4*pageSize - 1)
				c, err := tree.LockPTEs(va, true)
				if err != nil {
					t.Error(err)
					return
				}
				i := va.Index(x86.LevelPTE) + g
				if !c.Get(i).None() {
					t.Errorf("%v is taken", c.Addr(i))
				}
				c.Set(i, x86.MkPTE(tree.ABI(), x86.PFN(g), x86.ProtShared))
				c.Unlock()
			}
		})
	}
	wg.Wait()
	if got := tree.Tables(x86.LevelPTE); got < n*9/10 || got > n {
		t.Errorf("%d tables for %d places", got, n)
	}
}
