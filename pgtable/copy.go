package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// Copy says how the entries of an area are copied to a child at fork.
type Copy struct {
	// COW: a private mapping that may be written. Writable pages are write-protected in both trees.
	COW bool
	// Shared: a shared mapping. The child's pages start clean.
	Shared bool
	// KeepUffd: the child keeps the userfaultfd write protection.
	KeepUffd bool
	// Present is told of the pages that are about to be shared, under the lock of the parent's table. It takes
	// from pages those that the child gets copies of (exclusive and pinned), and notes in own which these are; pages
	// in neither are not copied. Nil: all are shared.
	Present func(c PTECursor, pages, own *Bitmap)
	// Own returns the child's entry for a page in own.
	Own func(va x86.Virt, e x86.PTE) (child x86.PTE, err error)
	// Batch returns how many entries of c from i on, at most last-i+1, belong to one large folio and differ only in
	// what the kernel ignores; the child gets entries made from the first, changed to first. Nil, or 1: one.
	Batch func(c PTECursor, i, last int) (n int, first x86.PTE)
	// Other returns what an entry that is neither a page nor none becomes in both. Nil: the child gets none.
	Other func(va x86.Virt, e x86.PTE) (child, parent x86.PTE, err error)
	// Huge copies leaves above the PTEs.
	Huge HugeFunc
}

// Copy copies the entries of r to the same addresses in the tree dst, where they must be none. It owes to g, the
// parent's gather, the flush of pages that lost write permission, and for COW maybe of others between and around them;
// Linux flushes the whole address space, once ([Gather.Everything]).
//
// Linux: mm/memory.c:copy_page_range(), copy_pte_range(), copy_present_pte()
func (t *Tree) Copy(g *Gather, dst *Tree, r Range, o *Copy) error {
	w := copying{Copy: o, g: g, dst: dst}
	// Not past the caches: the child's tables were cleared a moment ago, so they are in the nearest one, and a store
	// past it then costs several times as much, however large the trees are.
	w.kernel = ptescan.NewCopy(t.abi.Copy(o.flags()), false)
	return t.eachPTEs(r, o.Huge, func(c locked) error { return w.table(&c) })
}

func (o *Copy) flags() (f x86.CopyFlags) {
	if o.COW {
		f |= x86.CopyCOW
	}
	if o.Shared {
		f |= x86.CopyShared
	}
	if o.KeepUffd {
		f |= x86.CopyKeepUffdWP
	}
	return f
}

// share gives the child the pages that both will use.
func (o *Copy) share(c *locked, d PTECursor) (first, last int) {
	first, last = x86.EntriesPerTable, -1 // that lost write permission
	d.s.used += uint16(c.pages.Len())
	for i := c.first; i <= c.last; i++ {
		if !c.pages.Has(i) {
			continue
		}
		n, from := 1, c.Get(i)
		if o.Batch != nil {
			n, from = o.Batch(c.PTECursor, i, c.last)
			for k := 1; k < n; k++ { // not pages that the child gets copies of
				if !c.pages.Has(i + k) {
					n = k
				}
			}
		}
		child := o.child(c.t.abi, from)
		for end := i + n; i < end; i++ {
			e := c.Get(i)
			if p := o.parent(c.t.abi, e); p != e {
				c.tab[i] = uint64(p)
				first, last = min(first, i), i
			}
			d.tab[i] = uint64(child)
			child = child.AdvancePFN(1)
		}
		i--
	}
	return first, last
}

// parent returns what the parent keeps of the page e.
func (o *Copy) parent(a *x86.ABI, e x86.PTE) x86.PTE {
	if o.COW && e.Write(a) {
		return e.WrProtect(a)
	}
	return e
}

// child returns what the child gets of the page e.
//
// Linux: mm/memory.c:__copy_present_ptes()
func (o *Copy) child(a *x86.ABI, e x86.PTE) x86.PTE {
	e = o.parent(a, e)
	if o.Shared {
		e = e.MkClean(a)
	}
	e = e.MkOld()
	if !o.KeepUffd {
		e = e.ClearUffdWP()
	}
	return e
}
