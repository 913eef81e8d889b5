package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// poisonRange has the pages of r fail. Linux: mm/madvise.c:madvise_inject_error()
func (c *CPU) poisonRange(r pgtable.Range) error {
	for va := r.First; ; va += x86.PageSize {
		p, err := c.GetPages(va, 1, 0)
		if err != nil {
			return err
		}
		pfn := p.pfns[0]
		if c.m.pages[pfn].flags&pgReserved != 0 {
			return &CallError{"madvise", va, ErrBusy}
		}
		if err := c.failed(va, pfn); err != nil {
			p.Put()
			return err
		}
		p.Put()
		if va+x86.PageSize > r.Last {
			return nil
		}
	}
}

// failed handles the failure of a page: its mappings become hwpoison entries, or, where its contents can be read
// again, empty; a page of the swap cache leaves swap entries, which find it there.
//
// Linux: mm/memory-failure.c:memory_failure(), hwpoison_user_mappings()
func (c *CPU) failed(va x86.Virt, pfn x86.PFN) error {
	m := c.m
	if _, huge := c.space.hugePMD(va); huge {
		if err := c.splitHugePMD(c.space.VMA(va), va); err != nil {
			return err
		}
	}
	m.pages[pfn].flags |= pgPoison
	f := m.folio(pfn)
	entry := m.layout.MakeHWPoisonEntry(pfn).PTE()
	m.eachMapping(pfn, false, func(p Mapping) bool {
		t, err := p.Space.tree.LockPTEs(p.VA, false)
		if err != nil {
			return true
		}
		defer t.Unlock()
		i := p.VA.Index(x86.LevelPTE)
		old := t.GetAndClear(i)
		p.Space.flushPage(p.VA)
		if old.Dirty(m.abi) {
			f.flags |= pgDirty
		}
		switch {
		case f.flags&(pgAnon|pgSwapCache) == pgAnon|pgSwapCache:
			e, gone := m.unmappedAnon(old, pfn)
			t.Set(i, e)
			if !gone {
				return true
			}
		case f.file == nil || f.flags&pgDirty != 0 || f.file.shmem:
			t.Set(i, entry)
		}
		m.removeMapping(pfn)
		m.put(pfn)
		return true
	})
	return nil
}
