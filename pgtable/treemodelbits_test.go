package pgtable_test

import (
	"pgregory.net/rapid"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/pgtable"
)

func (m *treeModel) opSoftDirty() {
	r := m.drawRange("soft-dirty")
	var o pgtable.SoftDirty
	pins := rapid.Bool().Draw(m.t, "pins")
	if pins {
		o.Pinned = func(c pgtable.PTECursor, pages *pgtable.Bitmap) {
			for i := range pages.All() {
				if e := c.Get(i); !e.Present() || !e.Write(m.abi) {
					m.t.Fatalf("asked about %#x", uint64(e))
				} else if pinned(m.abi, e) {
					pages[i/64] &^= 1 << (i % 64)
				}
			}
		}
	}
	want := m.rewrite(r, func(_ x86.Virt, e x86.PTE) (x86.PTE, bool) {
		switch {
		case e.None() || pins && e.Present() && e.Write(m.abi) && pinned(m.abi, e):
			return e, false
		case e.Present():
			v := e.WrProtect(m.abi).ClearSoftDirty()
			return v, x86.PTENeedsFlush(m.abi, e, v)
		}
		return e &^ x86.PageSwpSoftDirty, false
	})
	got, err := m.gather(func(g *pgtable.Gather) error { return m.tree.ClearSoftDirty(g, r, &o) })
	m.must(err)
	m.sameFlush(got, want)
}

func (m *treeModel) opAge() {
	r := m.drawRange("age")
	count := 0
	switch rapid.IntRange(0, 4).Draw(m.t, "kind") {
	case 0, 1:
		clear := rapid.Bool().Draw(m.t, "clear")
		m.rewrite(r, func(_ x86.Virt, e x86.PTE) (x86.PTE, bool) {
			if e.Present() && e.Young() {
				count++
				if clear {
					e = e.MkOld()
				}
			}
			return e, false
		})
		found := 0
		got, err := m.tree.Young(r, clear, func(_ pgtable.PTECursor, p *pgtable.Bitmap) { found += p.Len() }, nil)
		m.must(err)
		if got != count || found != count {
			m.t.Fatalf("%d young pages, %d handed over, want %d", got, found, count)
		}
	case 2:
		m.rewrite(r, func(_ x86.Virt, e x86.PTE) (x86.PTE, bool) {
			if e.Present() {
				e = e.MkYoung()
			}
			return e, false
		})
		m.must(m.tree.MkYoung(r, nil))
	default:
		m.rewrite(r, func(_ x86.Virt, e x86.PTE) (x86.PTE, bool) {
			if e.Present() {
				if !e.Young() {
					count++
				}
				e = e.MkOld()
			}
			return e, false
		})
		if got, err := m.tree.Idle(r, nil, nil); err != nil || got != count {
			m.t.Fatalf("%d idle pages, %v, want %d", got, err, count)
		}
	}
}

func (m *treeModel) opClean() {
	r := m.drawRange("clean")
	dirty := 0
	want := noHull
	eachPage(r, func(va x86.Virt) {
		if e := m.entries[va]; e.Present() && e.Dirty(m.abi) {
			dirty++
		}
	})
	if got, err := m.tree.Dirty(r, nil, nil); err != nil || got != dirty {
		m.t.Fatalf("%d dirty pages, %v, want %d", got, err, dirty)
	}
	want = m.rewrite(r, func(_ x86.Virt, e x86.PTE) (x86.PTE, bool) {
		if !e.Present() || !e.Dirty(m.abi) && !e.Write(m.abi) {
			return e, false
		}
		return e.WrProtect(m.abi).MkClean(m.abi), true
	})
	n := 0
	got, err := m.gather(func(g *pgtable.Gather) (err error) {
		n, err = m.tree.MkClean(g, r, nil, nil)
		return err
	})
	m.must(err)
	m.sameFlush(got, want)
	if n != dirty {
		m.t.Fatalf("%d pages cleaned, want %d", n, dirty)
	}
}

// opAccess lets an emulated processor use a page.
func (m *treeModel) opAccess() {
	r := m.drawRange("access")
	for range 100 { // prefer a page that is there
		if m.entries[r.First].Present() || r.First+pageSize > r.Last {
			break
		}
		r.First += pageSize
	}
	p := m.abi.Paging()
	regs := mmu.LinuxRegs(uint64(m.tree.Root().Phys()), p.Levels)
	unit, err := mmu.New(regs, regs.Paging(p.PhysBits, p.EncMask))
	m.must(err)
	a := mmu.Access{User: true}
	if rapid.Bool().Draw(m.t, "write") {
		a.Kind = mmu.Write
	}
	w := unit.Walk(m.tree.Memory(), r.First)
	m.must(w.Commit(a, m.tree))
	e := m.entries[r.First]
	if e&x86.PagePresent == 0 || e&x86.PageUser == 0 || w.Outcome == mmu.Reserved {
		return
	}
	if a.Kind == mmu.Write {
		if e&x86.PageRW == 0 {
			return
		}
		e |= x86.PageDirty
	}
	m.entries[r.First] = e | x86.PageAccessed
}
