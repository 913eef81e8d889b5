package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/physmem"
)

// Zap says how to unmap a range. What the entries stood for is the caller's: it is told before they go.
type Zap struct {
	// Present is told of the pages that just went, under the table's lock: to take back their mappings, to note dirt
	// and age, and to hand their frames to the gather. What they were is in old, in the same slots, which elsewhere
	// is undefined. It may use up the bitmap. Nil: nobody cares.
	Present func(c PTECursor, pages *Bitmap, old *physmem.Table)
	// Other decides about an entry that is neither a page nor none: it returns what stays, 0 or e or a marker.
	// Nil: none stays.
	Other func(va x86.Virt, e x86.PTE) x86.PTE
	// Marker, unless 0, stays in place of a page that was write-protected through userfaultfd: mappings of files,
	// except where markers are dropped.
	Marker x86.PTE
	// Huge zaps leaves above the PTEs.
	Huge HugeFunc
	// FreeTables gives PTE tables back that are left empty and lie in the range whole (7.2, where the caller
	// permits).
	FreeTables bool
}

// Zap unmaps r and owes to g the flush of every page that was there.
//
// Linux: mm/memory.c:zap_pte_range()
func (t *Tree) Zap(g *Gather, r Range, z *Zap) error {
	kernel := t.abi.Zap(z.Marker)
	err := t.eachPTEs(r, z.Huge, func(c locked) error {
		if c.s.used != 0 {
			z.table(g, &c, &kernel)
		}
		return nil
	})
	if err != nil || !z.FreeTables {
		return err
	}
	return t.EachPMD(r, false, func(s PMDSlot) error {
		if s.Whole() && s.HasTable() {
			t.freeEmpty(g, s)
		}
		return nil
	})
}

func (z *Zap) table(g *Gather, c *locked, kernel *x86.PTEZap) {
	zapped := &c.zapped
	ptescan.Zap(kernel, (*ptescan.Table)(c.tab), c.first, c.last, (*ptescan.Table)(&c.old), zapped)
	if a, b := enclose(&zapped.Pages); a <= b {
		g.PTEs(c.PTECursor, a, b)
		if z.Marker != 0 {
			c.Recount()
		} else {
			c.s.used -= uint16(zapped.Pages.Len())
		}
		if z.Present != nil {
			z.Present(c.PTECursor, &zapped.Pages, &c.old)
		}
	}
	for i := range zapped.Others.All() {
		left := x86.PTE(0)
		if z.Other != nil {
			left = z.Other(c.Addr(i), c.Get(i))
		}
		c.Set(i, left)
	}
}

// freeEmpty takes the PTE table of s away if it is empty.
//
// Linux: mm/pt_reclaim.c:try_to_free_pte()
func (t *Tree) freeEmpty(g *Gather, s PMDSlot) {
	m, err := s.LockPMDs()
	if err != nil {
		return
	}
	defer m.Unlock()
	c, ok := m.LockPTEs(s.Index())
	if !ok {
		return
	}
	empty := c.s.used == 0
	c.Unlock()
	if empty {
		_, pfn := m.TakeTable(s.Index())
		g.Table(pfn, s.First)
	}
}

// Unmap zaps r, pages and all else, frees the PTE tables that lie in r whole, and settles what it owes with f, which
// may be nil. Tables that reach beyond r stay: see [Tree.FreeTables].
func (t *Tree) Unmap(r Range, f Flusher) error {
	var g Gather
	g.Start(t, f)
	err := t.Zap(&g, r, &Zap{FreeTables: true})
	if ferr := g.Finish(); err == nil {
		err = ferr
	}
	return err
}
