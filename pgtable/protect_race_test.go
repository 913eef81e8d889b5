package pgtable_test

import (
	"errors"
	"sync"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/thp"
)

// TestChangeProtectionConcurrent changes one range from several goroutines, while processors write to it and khugepaged
// and reclaim put huge pages in place of tables and split them again. Whatever the order, an entry ends as one of the
// changes leaves it, and no page loses its dirty state.
func TestChangeProtectionConcurrent(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	const base, slots = 0x7f00_c000_0000 - 1<<21, 2
	for _, k := range x86.Kernels() {
		k.PMDModifyDropsDirty = false // a bug of 6.12 that would lose it
		l := layoutFor(k)
		_, tree := protectTree(t, l.ABI(), 1024)
		r := pgtable.Range{First: base, Last: base + slots<<21 - 1}
		if err := tree.Map(r, pageBase, rw); err != nil {
			t.Fatal(err)
		}
		area := &thp.Area{Layout: l, Prot: rw, Anon: true, Write: true}
		huge := &thp.Huge{Area: area}
		change := func(prot x86.Prot) *pgtable.Protection {
			p, err := pgtable.NewProtection(l.ABI(), pgtable.ProtectionArgs{
				Prot: prot, Swap: l.Change(0, 0, false), Anonymous: true, Huge: huge, Pages: yes{},
			})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		changes := []*pgtable.Protection{change(ro), change(rw), change(x86.ProtNone)}
		var wg sync.WaitGroup
		run := func(f func(i int) error) {
			wg.Go(func() {
				for i := range rounds {
					if err := f(i); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for n, p := range changes {
			part := pgtable.Range{First: r.First + x86.Virt(n*100)<<12, Last: r.Last - x86.Virt(n*30)<<12}
			run(func(int) error {
				var g pgtable.Gather
				g.Start(tree, nil)
				_, err := tree.ChangeProtection(&g, part, p)
				return errors.Join(err, g.Finish())
			})
		}
		run(func(i int) error { // a processor writes
			c, err := tree.LockPTEs(base+x86.Virt(i%(slots*perTable))<<12, false)
			if err != nil {
				return nil
			}
			defer c.Unlock()
			if e := c.Get(i % perTable); e&(x86.PagePresent|x86.PageRW) == x86.PagePresent|x86.PageRW {
				c.Set(i%perTable, e|x86.PageAccessed|x86.PageDirty)
			}
			return nil
		})
		run(func(i int) error {
			va := base + x86.Virt(i%slots)<<21
			err := area.Collapse(tree, va, pageBase+x86.PFN(i%slots)*perTable, func(pgtable.PTECursor) error { return nil })
			if err != nil && !errors.Is(err, thp.ErrNotTable) {
				return err
			}
			_, err = area.Split(tree, va, nil, false)
			return err
		})
		wg.Wait()
		// Settle, and look: every page was dirty when it was collapsed last.
		var g pgtable.Gather
		g.Start(tree, nil)
		_, err := tree.ChangeProtection(&g, r, changes[0])
		if err := errors.Join(err, g.Finish(), tree.Check()); err != nil {
			t.Fatal(err)
		}
		for n := range slots * perTable {
			c, err := tree.LockPTEs(base+x86.Virt(n)<<12, false)
			if err != nil {
				t.Fatal(err)
			}
			e := c.Get(n % perTable)
			c.Unlock()
			if e.PFN(l.ABI()) != pageBase+x86.PFN(n) || e.Write(l.ABI()) || !e.Present() || e.Protnone() {
				t.Fatalf("%s: page %d: %#016x", k.Release, n, uint64(e))
			}
			if k.SplitKeepsDirty && !e.Dirty(l.ABI()) {
				t.Fatalf("%s: page %d lost its dirty state: %#016x", k.Release, n, uint64(e))
			}
		}
	}
}
