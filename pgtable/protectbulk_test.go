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
	"ptemu/swapentry"
)

const (
	bulkTables = 12
	bulkPages  = bulkTables * perTable
)

// bulkRange is in one PMD table.
var bulkRange = pgtable.Range{First: 1 << 30, Last: 1<<30 + bulkTables*tableSpan - 1}

// bulkTest is a tree where bulkRange is mapped, and what its users know of it.
type bulkTest struct {
	*testing.T
	tree  *pgtable.Tree
	dirty [bulkPages]bool // D was set; each page has one user
	stop  atomic.Bool
}

// TestBulkExcludes changes a whole range, many tables at once, while others set A and D as processors do, change single
// pages under the lock of their table, and move tables away and back. Nobody may change what another one has locked,
// and what processors set is there in the end.
func TestBulkExcludes(t *testing.T) {
	const users = 3
	rounds := 60
	if testing.Short() {
		rounds = 6
	}
	for range rounds {
		b := &bulkTest{T: t, tree: newTree(t, abi7(), 1024)}
		if err := b.tree.Map(bulkRange, pageBase, rw&^(x86.PageAccessed|x86.PageDirty)); err != nil {
			t.Fatal(err)
		}
		seed := rand.Uint64()
		var all, using sync.WaitGroup
		for n := range users {
			using.Go(func() { b.use(n, users, rand.New(rand.NewPCG(seed, uint64(n)))) })
		}
		all.Go(b.change)
		all.Go(b.change)
		all.Go(b.move)
		using.Wait()
		b.stop.Store(true)
		all.Wait()
		for i := range bulkPages {
			c, err := b.tree.LockPTEs(bulkRange.First+x86.Virt(i)*pageSize, false)
			if err != nil {
				t.Fatal(err)
			}
			e := c.Get(i % perTable)
			c.Unlock()
			if e.PFN(b.tree.ABI()) != pageBase+x86.PFN(i) || !e.Young() || e.Dirty(b.tree.ABI()) != b.dirty[i] {
				t.Fatalf("seed %#x: page %d ends as %#x, dirty %v: something is lost", seed, i, uint64(e), b.dirty[i])
			}
		}
	}
}

// change makes the range read-only and writable again.
func (b *bulkTest) change() {
	abi := b.tree.ABI()
	swap := swapentry.NewLayout(abi).Change(0, swapentry.BackingAnon, false)
	var g pgtable.Gather
	for n := 0; !b.stop.Load(); n++ {
		p, err := pgtable.NewProtection(abi, pgtable.ProtectionArgs{Prot: []x86.Prot{ro, rw}[n%2], Swap: swap, Anonymous: true})
		if err != nil {
			b.Error(err)
			return
		}
		g.Start(b.tree, nil)
		_, err = b.tree.ChangeProtection(&g, bulkRange, p)
		if err := errors.Join(err, g.Finish()); err != nil {
			b.Error(err)
			return
		}
	}
}

// move takes one table after the other away, and back.
func (b *bulkTest) move() {
	const away = x86.Virt(1<<30 + 2*bulkTables*tableSpan)
	var g pgtable.Gather
	for n := x86.Virt(0); !b.stop.Load(); n++ {
		at := bulkRange.First + n%bulkTables*tableSpan
		g.Start(b.tree, nil)
		o := &pgtable.Move{Whole: true}
		err := errors.Join(
			b.tree.Move(&g, pgtable.Range{First: at, Last: at + tableSpan - 1}, away, o),
			b.tree.Move(&g, pgtable.Range{First: away, Last: away + tableSpan - 1}, at, o),
			g.Finish())
		if err != nil {
			b.Error(err)
			return
		}
	}
}

// use sets A in every step-th page from first on, in any order, and D in those that it finds writable.
func (b *bulkTest) use(first, step int, rnd *rand.Rand) {
	for _, n := range rnd.Perm((bulkPages - first + step - 1) / step) {
		for i := first + n*step; !b.touch(i); {
		}
	}
}

// touch sets A, and maybe D, of page i, and reports whether it did. It fails if somebody changes the entry while the
// table is locked.
func (b *bulkTest) touch(i int) bool {
	c, err := b.tree.LockPTEs(bulkRange.First+x86.Virt(i)*pageSize, false)
	if err != nil {
		return false // away
	}
	slot := i % perTable
	e := c.Get(slot)
	for range 200 {
		if now := atomic.LoadUint64(&c.Table()[slot]); now != uint64(e) {
			b.Errorf("page %d changed from %#x to %#x while its table was locked", i, uint64(e), now)
			c.Unlock()
			return true
		}
	}
	bits := uint64(x86.PageAccessed)
	if e.Write(b.tree.ABI()) {
		bits |= x86.PageDirty
	}
	if i%2 == 0 { // one page is changed
		c.Set(slot, e|x86.PTE(bits))
		c.Unlock()
	} else {
		place := c.PFN().Phys() + x86.Phys(slot)*8
		c.Unlock()
		if err := b.tree.SetBits(place, uint64(e), bits); err != nil {
			if !errors.Is(err, mmu.ErrStale) {
				b.Error(err)
			}
			return false
		}
	}
	b.dirty[i] = bits&x86.PageDirty != 0
	return true
}
