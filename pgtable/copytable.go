package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// copying is one run of a Copy.
type copying struct {
	*Copy
	g      *Gather
	dst    *Tree
	kernel ptescan.Copy
	pmds   x86.PFN // the PMD table of dst that was used last, or 0
	at     x86.Virt
}

// table copies the part of one table.
//
// Linux: mm/memory.c:copy_pte_range()
func (w *copying) table(c *locked) error {
	d, err := w.lockChild(c.Addr(c.first))
	if err != nil {
		return err
	}
	defer d.Unlock()
	if !c.anything() {
		return nil // but the child has a table, too
	}
	if err := mustBeFree(d, c); err != nil {
		return err
	}
	if w.Present == nil && w.Batch == nil {
		return w.plain(c, d)
	}
	return w.asking(c, d)
}

// asking copies the part where somebody wants to be asked about pages. If all are shared, one by one, it comes to
// plain.
func (w *copying) asking(c *locked, d PTECursor) error {
	pagesIn(c.tab, c.first, c.last, &c.pages)
	all, own := c.pages, &c.tmp
	*own = Bitmap{}
	if w.Present != nil {
		w.Present(c.PTECursor, &c.pages, own)
	}
	if w.Batch == nil && own.Empty() && c.pages == all {
		return w.plain(c, d)
	}
	othersIn(c.tab, c.first, c.last, &all, &c.other)
	if err := w.others(c, d, &c.other); err != nil {
		return err
	}
	return w.some(c, d, own)
}

// anything reports that the part has an entry that is not none. Of a whole table the count says it.
func (c *locked) anything() bool {
	switch {
	case c.s.used == 0:
		return false
	case c.last-c.first == x86.EntriesPerTable-1:
		return true
	}
	having(c.tab, c.first, c.last, ^uint64(x86.PageKnlErratumMask), &c.tmp)
	return !c.tmp.Empty()
}

// plain copies the part where nobody wants to be asked about pages.
func (w *copying) plain(c *locked, d PTECursor) error {
	w.kernel.Apply((*ptescan.Table)(c.tab), (*ptescan.Table)(d.tab), c.first, c.last, &c.copied)
	d.s.used += uint16(c.copied.Pages.Len())
	if a, b := enclose(&c.copied.Pages); w.COW && a <= b {
		w.g.PTEs(c.PTECursor, a, b)
	}
	return w.others(c, d, &c.copied.Others)
}

// lockChild locks the child's table for va, and makes it if need be. Tables mostly follow each other in one PMD table:
// that is looked for only once.
func (w *copying) lockChild(va x86.Virt) (PTECursor, error) {
	const l = x86.LevelPMD
	if w.pmds == 0 || (va^w.at)>>(l.Shift()+9) != 0 {
		pfn, err := w.dst.make(va, l)
		if err != nil {
			return w.dst.LockPTEs(va, true) // says what is wrong
		}
		w.pmds, w.at = pfn, va
	}
	slot := &w.dst.ram.Table(w.pmds)[va.Index(l)]
	if !usedEntry(loadEntry(slot)) {
		if c, ok, err := w.newChild(va); ok || err != nil {
			return c, err
		}
	}
	return w.dst.LockPTEs(va, true)
}

// newChild puts a new table in the child's empty slot for va, and returns it locked; not ok if the slot was used
// meanwhile, or its table is gone.
func (w *copying) newChild(va x86.Virt) (c PTECursor, ok bool, err error) {
	t := w.dst
	pfn, err := t.newTable(x86.LevelPTE, va&^x86.Virt(x86.LevelPTE.Span()-1))
	if err != nil {
		return c, false, &AddrError{va, err}
	}
	m, ok := t.lockPMDs(w.pmds, va)
	if ok {
		i := va.Index(x86.LevelPMD)
		if ok = !usedEntry(m.tab[i]); ok {
			s := t.state(pfn)
			s.acquire()
			s.kind = kindLinked
			s.hang(m.s)
			m.store(i, t.pointer(pfn))
			c = PTECursor{t, t.ram.Table(pfn), s, pfn}
		}
		m.Unlock()
	}
	if !ok {
		t.freeTable(pfn)
	}
	return c, ok, nil
}

// mustBeFree fails with ErrUsed if the child has an entry in the range.
func mustBeFree(d PTECursor, c *locked) error {
	if d.s.used == 0 {
		return nil
	}
	having(d.tab, c.first, c.last, ^uint64(x86.PageKnlErratumMask), &c.tmp)
	if i, _ := enclose(&c.tmp); i < x86.EntriesPerTable {
		return &AddrError{d.Addr(i), ErrUsed}
	}
	return nil
}

// others copies the entries that are neither pages nor none.
func (o *Copy) others(c *locked, d PTECursor, others *Bitmap) error {
	if o.Other == nil {
		return nil
	}
	for i := range others.All() {
		child, parent, err := o.Other(c.Addr(i), c.Get(i))
		if err != nil {
			return err
		}
		c.Set(i, parent)
		d.Set(i, child)
	}
	return nil
}

// some shares c.pages with the child, and gives it copies of those in own.
func (w *copying) some(c *locked, d PTECursor, own *Bitmap) error {
	if first, last := w.share(c, d); first <= last {
		w.g.PTEs(c.PTECursor, first, last)
	}
	for i := range own.All() {
		child, err := w.Own(c.Addr(i), c.Get(i))
		if err != nil {
			return err
		}
		d.Set(i, child)
	}
	return nil
}
