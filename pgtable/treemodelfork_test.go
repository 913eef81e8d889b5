package pgtable_test

import (
	"errors"

	"pgregory.net/rapid"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

func (m *treeModel) opCopy() {
	r := m.drawRange("copy")
	o := pgtable.Copy{
		COW:      rapid.Bool().Draw(m.t, "cow"),
		KeepUffd: rapid.Bool().Draw(m.t, "keep uffd"),
	}
	o.Shared = !o.COW && rapid.Bool().Draw(m.t, "shared")
	early := rapid.Bool().Draw(m.t, "early copies")
	early = early && o.COW
	if early {
		o.Present = func(c pgtable.PTECursor, pages, own *pgtable.Bitmap) {
			for i := range pages.All() {
				if owned(m.abi, c.Get(i)) {
					pages[i/64] &^= 1 << (i % 64)
					own.Set(i)
				}
			}
		}
		o.Own = func(_ x86.Virt, e x86.PTE) (x86.PTE, error) {
			return x86.MkPTE(m.abi, e.PFN(m.abi)+1, x86.ProtShared), nil
		}
	}
	batch := !early && rapid.Bool().Draw(m.t, "batch")
	if batch {
		o.Batch = func(c pgtable.PTECursor, i, last int) (int, x86.PTE) {
			n, first := 1, c.Get(i)
			for ; n < 4 && i+n <= last && c.Get(i+n).Present() && c.Get(i+n).PFN(m.abi) == first.PFN(m.abi)+x86.PFN(n); n++ {
			}
			return n, first
		}
	}
	o.Other = func(_ x86.Virt, e x86.PTE) (child, parent x86.PTE, err error) {
		if isMarker(e) {
			return 0, e, nil
		}
		return e &^ x86.PageSwpUffdWP, e &^ x86.PageSwpExclusive, nil
	}
	child := map[x86.Virt]x86.PTE{}
	// What a batch repeats: its first entry, and how many of it have passed.
	var head, before x86.PTE
	var n x86.PFN
	want := m.rewrite(r, func(va x86.Virt, e x86.PTE) (x86.PTE, bool) {
		follows := batch && n < 4 && n > 0 && before.Present() && e.Present() && va%tableSpan != 0 &&
			e.PFN(m.abi) == head.PFN(m.abi)+n
		if !follows {
			head, n = e, 0
		}
		before = e
		n++
		switch {
		case e.None():
			return e, false
		case !e.Present():
			c, p, _ := o.Other(va, e)
			child[va] = c
			return p, false
		case early && owned(m.abi, e):
			child[va], _ = o.Own(va, e)
			return e, false
		}
		parent, c := e, head.AdvancePFN(uint64(n-1))
		if o.COW {
			parent, c = e.WrProtect(m.abi), c.WrProtect(m.abi)
			if !e.Write(m.abi) {
				parent = e
			}
			if !head.Write(m.abi) {
				c = head.AdvancePFN(uint64(n - 1))
			}
		}
		if o.Shared {
			c = c.MkClean(m.abi)
		}
		c = c.MkOld()
		if !o.KeepUffd {
			c = c.ClearUffdWP()
		}
		child[va] = c
		return parent, parent != e
	})
	tree, err := pgtable.New(m.ram, m.abi)
	m.must(err)
	got, err := m.gather(func(g *pgtable.Gather) error { return m.tree.Copy(g, tree, r, &o) })
	m.must(err)
	if batch {
		m.sameFlush(got, want)
	} else if want != noHull && (got.First > want.First || got.Last < want.Last) || got != noHull && (got.First < r.First || got.Last > r.Last) {
		m.t.Fatalf("flushed %v to %v, want %v to %v", got.First, got.Last, want.First, want.Last)
	}
	m.compare(tree, child)
	m.must(tree.Check())
	m.must(tree.Close())
}

func (m *treeModel) opMove() {
	r := m.drawRange("from")
	to := m.drawRange("to").First
	o := pgtable.Move{ClearUffd: rapid.Bool().Draw(m.t, "clear uffd"), DropMarker: isMarker}
	if o.Whole = rapid.Bool().Draw(m.t, "whole tables"); o.Whole {
		r.First &^= tableSpan - 1
		r.Last |= tableSpan - 1
		to &^= tableSpan - 1
	}
	last := to + (r.Last - r.First)
	if to <= r.Last && r.First <= last || last >= m.tree.Limit() {
		_, err := m.gather(func(g *pgtable.Gather) error { return m.tree.Move(g, r, to, &o) })
		if !errors.Is(err, pgtable.ErrRange) {
			m.t.Fatalf("moved %v to %v: %v", r, to, err)
		}
		return
	}
	free := true
	eachPage(pgtable.Range{First: to, Last: last}, func(va x86.Virt) { free = free && m.entries[va].None() })
	if !free {
		m.must(m.tree.Unmap(pgtable.Range{First: to, Last: last}, nil))
		eachPage(pgtable.Range{First: to, Last: last}, func(va x86.Virt) { delete(m.entries, va) })
	}
	moved := map[x86.Virt]x86.PTE{}
	whole := map[x86.Virt]bool{}
	for va := r.First; o.Whole && va < r.Last; va += tableSpan {
		whole[va] = m.hasTable(va) && !m.hasTable(va-r.First+to)
	}
	want := m.rewrite(r, func(va x86.Virt, e x86.PTE) (x86.PTE, bool) {
		v := e
		switch {
		case whole[va&^(tableSpan-1)]:
			moved[va-r.First+to] = e
			return 0, true
		case e.None():
			return e, false
		case e.Present():
			v = e.MkSoftDirty()
			if o.ClearUffd {
				v = v.ClearUffdWP()
			}
		case o.ClearUffd && isMarker(e):
			v = 0
		default:
			v |= x86.PageSwpSoftDirty
			if o.ClearUffd {
				v &^= x86.PageSwpUffdWP
			}
		}
		moved[va-r.First+to] = v
		return 0, e.Present()
	})
	for va, e := range moved {
		m.entries[va] = e
	}
	got, err := m.gather(func(g *pgtable.Gather) error { return m.tree.Move(g, r, to, &o) })
	if errors.Is(err, physmem.ErrNoMemory) {
		m.t.Fatal(err)
	}
	m.must(err)
	for _, w := range whole {
		if w { // the way to the table is flushed too, which gather leaves out
			got = m.flushed[0].Range
		}
	}
	m.sameFlush(got, want)
}

// hasTable reports that a PTE table is linked for va.
func (m *treeModel) hasTable(va x86.Virt) bool {
	way := m.tree.Walk(va, nil)
	return way[len(way)-1].Level == x86.LevelPTE
}
