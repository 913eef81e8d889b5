package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// drafter ends the write protection of an area as the drafts of 2019 did: every entry becomes writable, after pages that
// others map have been copied in the middle of the loop over a table, for which the table was unlocked.
//
// Linux: proposed for mm/mprotect.c:change_pte_range(), and never merged
type drafter struct {
	g      *gather
	m      *Machine
	v      *VMA
	cur    pgtable.PTECursor
	locked bool // cur is; without, entries are changed as if it were
}

// resolveDraft is what [Policy].Resolve names.
func (s *Space) resolveDraft(g *gather, v *VMA, r pgtable.Range) error {
	d := drafter{g: g, m: s.m, v: v}
	return s.tree.EachPMD(r, false, func(slot pgtable.PMDSlot) error {
		if !slot.Entry.None() && !slot.HasTable() {
			if err := s.splitPMD(g, v, slot.First); err != nil {
				return err
			}
			slot.Reload()
		}
		if !slot.HasTable() {
			return nil
		}
		return d.table(slot.Range)
	})
}

// table does the entries of r, all in one table.
func (d *drafter) table(r pgtable.Range) error {
	if !d.lock(r.First) {
		return nil
	}
	for va := r.First; ; va += x86.PageSize {
		if err := d.entry(va); err != nil {
			d.unlock()
			return err
		}
		if va+x86.PageSize > r.Last {
			d.unlock()
			return nil
		}
	}
}

func (d *drafter) lock(va x86.Virt) bool {
	c, err := d.v.space.tree.LockPTEs(va, false)
	d.cur, d.locked = c, err == nil
	return d.locked
}

func (d *drafter) unlock() {
	if d.locked {
		d.cur.Unlock()
		d.locked = false
	}
}

// entry does one entry. Where it has to be copied first, it is looked at again when that is done.
func (d *drafter) entry(va x86.Virt) error {
	for {
		e := d.get(va)
		switch {
		case !e.Present():
			d.notPresent(va, e)
			return nil
		case !d.mustCopy(e):
			d.commit(va, e)
			return nil
		}
		d.unlock()
		copied, err := d.copy(va, e)
		if err != nil {
			return err
		}
		if !copied && d.m.Policy.Resolve == ResolveDraft {
			return nil // "handled by others": on to the next entry, and nobody takes the lock again
		}
		if copied {
			d.g.c.point(PointResolveCopied)
		}
		if !d.lock(va) {
			return nil
		}
		if copied {
			d.commit(va, d.get(va))
			return nil
		}
	}
}

// get reads an entry, with the lock or without it.
func (d *drafter) get(va x86.Virt) x86.PTE {
	if d.locked {
		return d.cur.Get(va.Index(x86.LevelPTE))
	}
	return d.v.space.pte(va)
}

// mustCopy reports that the page of the write-protected entry is none of the area's own.
func (d *drafter) mustCopy(e x86.PTE) bool {
	if d.m.Policy.Resolve == ResolveNoCOW || !e.UffdWP() || !d.v.cow() {
		return false
	}
	pfn, ok := d.m.normal(e)
	return !ok || d.m.pages[pfn].mapped+d.m.folio(pfn).whole > 1
}

// copy gives the area a page of its own, read-only, clean and still write-protected, and reports whether the entry was
// what it had been when the lock was given up.
//
// Linux: mm/memory.c:wp_page_copy(), as the drafts changed it
func (d *drafter) copy(va x86.Virt, e x86.PTE) (bool, error) {
	f := fault{c: d.g.c, m: d.m, s: d.v.space, v: d.v, va: va, orig: e}
	d.v.prepareAnon()
	to, err := d.m.alloc(0)
	if err != nil {
		return false, &CallError{"UFFDIO_WRITEPROTECT", va, ErrNoMem}
	}
	pfn, normal := d.m.normal(e)
	if normal {
		d.m.get(pfn)
		defer d.m.put(pfn)
		*d.m.content(to) = *d.m.content(pfn)
	}
	d.g.c.point(PointResolveCopy)
	c, ok := f.relock()
	if !ok {
		d.m.put(to)
		return false, nil
	}
	defer c.Unlock()
	c.Clear(f.slot())
	f.s.flushPage(va)
	c.Set(f.slot(), x86.MkPTE(d.m.abi, to, d.v.prot).MkUffdWP(d.m.abi))
	d.m.addNewAnon(to, d.v, va)
	if normal {
		d.m.removeMapping(pfn)
		d.m.put(pfn)
	}
	return true, nil
}

// commit makes the entry writable and no longer write-protected. Without the lock, others come in between.
func (d *drafter) commit(va x86.Virt, old x86.PTE) {
	i := va.Index(x86.LevelPTE)
	e := old.Modify(d.m.abi, d.v.uffdProt(false)).ClearUffdWP()
	if old.UffdWP() {
		e = d.m.mkWrite(d.v, va, e, GainResolve)
	}
	if x86.PTENeedsFlush(d.m.abi, old, e) {
		d.g.Range(pgtable.Range{First: va, Last: va + x86.PageSize - 1}, x86.LevelPTE)
	}
	if d.locked {
		d.cur.Set(i, e)
		return
	}
	if !d.lock(va) {
		return
	}
	d.cur.Clear(i)
	d.unlock()
	d.g.c.point(PointResolveCleared)
	if d.lock(va) {
		d.cur.Set(i, e)
		d.unlock()
	}
}

// notPresent ends the write protection of an entry that is not a page.
func (d *drafter) notPresent(va x86.Virt, e x86.PTE) {
	held := d.locked
	if e.None() || !held && !d.lock(va) {
		return
	}
	if d.m.layout.PTEMarker(e) {
		if e == d.m.layout.MakePTEMarker(swapentry.MarkerUffdWP) {
			d.cur.Clear(va.Index(x86.LevelPTE))
		}
	} else {
		d.cur.Set(va.Index(x86.LevelPTE), swapentry.SwpClearUffdWP(e))
	}
	if !held {
		d.unlock()
	}
}
