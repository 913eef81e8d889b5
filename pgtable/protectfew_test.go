package pgtable_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// TestChangeProtectionShared uses one Protection from two goroutines, on tables whose pages need different things done
// to them: what is learned from one table must not be used for another's.
func TestChangeProtectionShared(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 200
	}
	const tables = 8
	l := layoutFor(x86.Linux6_12())
	_, tree := protectTree(t, l.ABI(), 1024)
	r := pgtable.Range{First: 1 << 30, Last: 1<<30 + tables<<21 - 1}
	if err := tree.Map(r, pageBase, rw); err != nil {
		t.Fatal(err)
	}
	// Dirty pages, clean ones, and such as processors may not use, by turns.
	entry := func(n int) x86.PTE {
		prot := rw
		if n/64%3 == 2 {
			prot = x86.ProtNone
		}
		e := x86.MkPTE(l.ABI(), pageBase+x86.PFN(n), prot)
		if n/64%2 == 1 {
			e = e.MkDirty(l.ABI())
		}
		return e
	}
	p := protection(t, l, ro, 0, swapentry.BackingAnon, false, yes{})
	c := l.ABI().Change(ro, 0)
	var wg sync.WaitGroup
	for half := range x86.Virt(2) {
		wg.Go(func() {
			part := pgtable.Range{First: r.First + half*tables/2<<21, Last: r.First + (half+1)*tables/2<<21 - 1}
			var g pgtable.Gather
			for round := range rounds {
				fillAll(t, tree, part, entry)
				g.Start(tree, nil)
				n, err := tree.ChangeProtection(&g, part, p)
				if n != tables/2*perTable || err != nil {
					t.Errorf("round %d: %d pages, %v", round, n, err)
				}
				if err := g.Finish(); err != nil {
					t.Error(err)
				}
				eachEntry(t, tree, part, func(n int, e x86.PTE) {
					if want := x86.PTE(c.Apply(uint64(entry(n)))); e != want {
						t.Errorf("round %d, page %d: %#016x, want %#016x", round, n, uint64(e), uint64(want))
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
	wg.Wait()
}

func fillAll(t *testing.T, tree *pgtable.Tree, r pgtable.Range, entry func(n int) x86.PTE) {
	t.Helper()
	for va := r.First; va < r.Last; va += tableSpan {
		c, err := tree.LockPTEs(va, false)
		if err != nil {
			t.Error(err)
			return
		}
		for i := range perTable {
			c.Set(i, entry(int(va-r.First)/pageSize+i))
		}
		c.Unlock()
	}
}

func eachEntry(t *testing.T, tree *pgtable.Tree, r pgtable.Range, f func(n int, e x86.PTE)) {
	t.Helper()
	for va := r.First; va < r.Last; va += tableSpan {
		c, err := tree.LockPTEs(va, false)
		if err != nil {
			t.Error(err)
			return
		}
		for i := range perTable {
			f(int(va-r.First)/pageSize+i, c.Get(i))
		}
		c.Unlock()
	}
}

// TestChangeProtectionFew: a range of few pages comes to the same as the whole table does, which takes another way. The
// entries are anything that a table may hold.
func TestChangeProtectionFew(t *testing.T) {
	flags := []x86.ChangeFlags{0, wp, resolve, try, try | x86.ChangeShared, x86.ChangeNUMA}
	for _, k := range x86.Kernels() {
		l := layoutFor(k)
		rnd := rand.New(rand.NewPCG(3, 4))
		for round := range 60 {
			_, tree := protectTree(t, l.ABI(), 16)
			r := pgtable.Range{First: 1 << 30, Last: 1<<30 + tableSpan - 1}
			if err := tree.Map(r, pageBase, rw); err != nil {
				t.Fatal(err)
			}
			prot := []x86.Prot{ro, rw, x86.ProtNone}[rnd.IntN(3)]
			f := flags[rnd.IntN(len(flags))]
			p := protection(t, l, prot, f, swapentry.BackingAnon, false, yes{})
			few(t, rnd, l, tree, r, p, l.ABI().Change(prot, f), round)
		}
	}
}

// few compares the change of some pages of the table at r with that of all of them.
func few(t *testing.T, rnd *rand.Rand, l *swapentry.Layout, tree *pgtable.Tree, r pgtable.Range, p *pgtable.Protection,
	c x86.PTEChange, round int) {
	t.Helper()
	entries := make([]x86.PTE, perTable)
	for i := range entries {
		switch rnd.IntN(12) {
		case 0:
		case 1:
			entries[i] = swapentry.MkSwp(0, uint64(i)+1).PTE()
		default:
			e := x86.MkPTE(l.ABI(), pageBase+x86.PFN(i), []x86.Prot{ro, rw, x86.ProtNone}[rnd.IntN(3)])
			if rnd.IntN(2) == 0 {
				e = e.MkDirty(l.ABI())
			}
			if rnd.IntN(4) == 0 {
				e = e.MkUffdWP(l.ABI())
			}
			entries[i] = e
		}
	}
	change := func(part pgtable.Range) (int64, pgtable.Flush, bool) {
		fillAll(t, tree, r, func(n int) x86.PTE { return entries[n] })
		var g pgtable.Gather
		g.Start(tree, nil)
		n, err := tree.ChangeProtection(&g, part, p)
		if err != nil {
			t.Fatal(err)
		}
		owed, any := g.Owed()
		if err := g.Finish(); err != nil {
			t.Fatal(err)
		}
		return n, owed, any
	}
	whole := make([]x86.PTE, perTable)
	change(r)
	eachEntry(t, tree, r, func(n int, e x86.PTE) { whole[n] = e })
	for range 4 {
		size := 1 + rnd.IntN(10)
		first := rnd.IntN(perTable - size + 1)
		at := r.First + x86.Virt(first)<<12
		pages, owed, _ := change(pgtable.Range{First: at, Last: at + x86.Virt(size)<<12 - 1})
		flush := pgtable.Range{First: ^x86.Virt(0)}
		for i := first; i < first+size; i++ {
			old, v := uint64(entries[i]), uint64(whole[i])
			if old&c.Select != 0 || old != v {
				pages--
			}
			if va := r.First + x86.Virt(i)<<12; c.NeedsFlush(old, v) {
				flush = pgtable.Range{First: min(flush.First, va), Last: va + 0xfff}
			}
		}
		if pages != 0 || owed.Range != flush {
			t.Fatalf("%s, round %d, slots %d to %d: %d pages too many, flush %v, want %v", l.ABI().Kernel().Release, round, first,
				first+size-1, pages, owed.Range, flush)
		}
		eachEntry(t, tree, r, func(n int, e x86.PTE) {
			want := entries[n]
			if n >= first && n < first+size {
				want = whole[n]
			}
			if e != want {
				t.Fatalf("%s, round %d, slots %d to %d: slot %d was %#x and is %#x, want %#x", l.ABI().Kernel().Release, round, first,
					first+size-1, n, uint64(entries[n]), uint64(e), uint64(want))
			}
		})
	}
}
