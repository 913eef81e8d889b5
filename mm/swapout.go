package mm

import "ptemu/arch/x86"

// shrinkFound reclaims what was found, unless somebody else uses it.
func (a *ager) shrinkFound() {
	for rest := a.found; len(rest) > 0; {
		rest = rest[a.swapOut(rest):]
		if len(rest) == 0 {
			break
		}
		if head := rest[0]; a.Policy.PageOutAsks && a.referenced(head) {
			a.put(head)
		} else {
			a.shrink(a.c, head)
		}
		rest = rest[1:]
	}
	a.found = a.found[:0]
}

// swapOut does what [Machine.shrink] does with the first of the pages, and returns how many these are: anonymous pages of
// one table that the area maps, and that nobody else has. Processors are told once for all of them. An operation that may
// be stopped in its middle goes page by page.
func (a *ager) swapOut(pages []x86.PFN) (n int) {
	if a.now != nil || !a.swappable(pages[0]) {
		return 0
	}
	t, err := a.v.space.tree.LockPTEs(a.address(pages[0]), false)
	if err != nil {
		return 0
	}
	var slots [x86.EntriesPerTable]uint64
	for ; n < min(len(pages), len(slots)) && a.swappable(pages[n]); n++ {
		pfn := pages[n]
		va := a.address(pfn)
		i := va.Index(x86.LevelPTE)
		old := t.Get(i)
		if got, ok := a.normal(old); va != t.Addr(i) || !ok || got != pfn || a.Policy.PageOutAsks && old.Young() {
			break
		}
		slot, ok := a.swap.alloc(1)
		if !ok {
			break
		}
		a.swap.take(slot)
		t.Set(i, swapPTE(old, slot, a.exclusive(pfn)))
		slots[n] = slot
	}
	t.Unlock()
	if n == 0 {
		return 0
	}
	a.tell(n)
	a.writeOut(pages[:n], slots[:n])
	return n
}

// tell has processors forget what they cached of n pages of the area. Who watches hears of each page.
func (a *ager) tell(n int) {
	if a.watch == nil {
		n = 1
	}
	b := flushBatch{c: a.c}
	for range n {
		b.owe(a.v.space)
		a.c.point(PointUnmapped)
		b.flush()
	}
}

// swappable reports that the page, to which the caller has a reference, is an ordinary one that only the area maps.
func (a *ager) swappable(pfn x86.PFN) bool {
	f := &a.pages[pfn]
	return f.ref == 2 && f.order == 0 && f.flags&^(pgDirty|pgReferenced) == pgAnon|pgSwapBacked &&
		a.v.flags&VMLocked == 0 && a.v.sameMapping(f) && f.index-a.v.pgoff < a.v.pages()
}

// address returns where the area maps the page.
func (a *ager) address(pfn x86.PFN) x86.Virt {
	return a.v.Start + x86.Virt(a.pages[pfn].index-a.v.pgoff)*x86.PageSize
}

// writeOut writes the pages, which nobody maps any more, to their slots, and frees them.
func (a *ager) writeOut(pages []x86.PFN, slots []uint64) {
	r := run{first: pages[0]}
	for i, pfn := range pages {
		a.swap.write(slots[i], a.content(pfn))
		f := &a.pages[pfn]
		f.mapped, f.ref = 0, 1
		if pfn != r.first+x86.PFN(r.n) {
			a.putUnmappedRun(r)
			r = run{first: pfn}
		}
		r.n++
	}
	a.putUnmappedRun(r)
}
