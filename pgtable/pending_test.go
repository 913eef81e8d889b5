package pgtable

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// TestPending: more gathers than there are slots are counted, and each of them sees that it is not alone.
func TestPending(t *testing.T) {
	tree := pendingTree(t)
	const n = 20
	var gathers [n]Gather
	for i := range gathers {
		gathers[i].Start(tree, nil)
		if got := tree.flush.count(); got != uint32(i+1) {
			t.Fatalf("%d gathers counted, want %d", got, i+1)
		}
	}
	for i := range gathers {
		// Neither the first taken nor the last goes first.
		f := &allFlusher{}
		g := &gathers[(i*7+3)%n]
		g.flusher = f
		if err := g.Finish(); err != nil {
			t.Fatal(err)
		}
		if last := i == n-1; f.all == last {
			t.Errorf("gather %d of %d to finish flushes all: %v", i+1, n, f.all)
		}
		if got := tree.flush.count(); got != uint32(n-1-i) {
			t.Fatalf("%d gathers counted, want %d", got, n-1-i)
		}
	}
	if tree.FlushPending() {
		t.Error("a flush is pending after all gathers finished")
	}
}

type allFlusher struct{ all bool }

func (f *allFlusher) FlushTLB(_ *Tree, what Flush) { f.all = f.all || what.All }

// TestPendingConcurrent: a gather is counted from Start to Finish, whoever else comes and goes.
func TestPendingConcurrent(t *testing.T) {
	tree := pendingTree(t)
	var under atomic.Int32
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			var g Gather
			for range 2000 {
				g.Start(tree, nil)
				least := under.Add(1)
				if got := tree.flush.count(); got == 0 || got > 12 {
					t.Errorf("%d gathers counted, at least %d are under way", got, least)
				}
				runtime.Gosched()
				under.Add(-1)
				if err := g.Finish(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := tree.flush.count(); n != 0 {
		t.Errorf("%d gathers counted at the end", n)
	}
}

func pendingTree(t *testing.T) *Tree {
	ram, err := physmem.NewRAM(0, 512)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ram.Close() })
	tree, err := New(ram, x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(4)))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
