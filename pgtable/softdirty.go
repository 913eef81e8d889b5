package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// SoftDirty says how the soft-dirty bits of an area are reset.
type SoftDirty struct {
	// Pinned takes from pages, the pages of c that are writable, those that may not be write-protected because a
	// device may write them; they stay as they are. Nil: there are none.
	Pinned func(c PTECursor, pages *Bitmap)
	// Huge resets leaves above the PTEs.
	Huge HugeFunc
}

// ClearSoftDirty resets the soft-dirty bits of r: pages are write-protected, so that the next write is noticed. It
// owes to g the flush of what lost write permission or dirtiness; Linux flushes the whole address space, once
// ([Gather.Everything]).
//
// Linux: fs/proc/task_mmu.c:clear_soft_dirty(), clear_refs_pte_range()
func (t *Tree) ClearSoftDirty(g *Gather, r Range, o *SoftDirty) error {
	swap := x86.NewSwapChange()
	swap.SetCommon(allSwapTypes, ^uint64(x86.PageSwpSoftDirty), 0)
	change := ptescan.NewChange(t.abi.ChangeClearSoftDirty(), &swap, ptescan.Exclusive{})
	var done ptescan.Changed
	return t.eachPTEs(r, o.Huge, func(c locked) error {
		if c.s.used == 0 {
			return nil
		}
		change.Apply((*ptescan.Table)(c.tab), c.first, c.last, o.spare(&c), (*ptescan.Table)(c.next), &done)
		if done.First <= done.Last {
			g.PTEs(c.PTECursor, int(done.First), int(done.Last))
		}
		return nil
	})
}

// allSwapTypes has a bit for every swap type that an entry can hold.
const allSwapTypes = 1<<32 - 1

// spare returns all entries but the pinned pages, or nil for all.
func (o *SoftDirty) spare(c *locked) *Bitmap {
	if o.Pinned == nil {
		return nil
	}
	c.writable()
	all := c.pages
	o.Pinned(c.PTECursor, &c.pages)
	if c.pages == all {
		return nil
	}
	for w := range c.pages {
		c.pages[w] = ^(all[w] &^ c.pages[w])
	}
	return &c.pages
}

// writable sets c.pages to the pages that can be written.
func (c *locked) writable() {
	pagesIn(c.tab, c.first, c.last, &c.pages)
	for i := range c.pages.All() {
		if !c.Get(i).Write(c.t.abi) {
			c.pages[i/wordBits] &^= 1 << (i % wordBits)
		}
	}
}
