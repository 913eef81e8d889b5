package mm

import "ptemu/arch/x86"

// faultAroundPages is the size of the window. Linux: mm/memory.c:fault_around_pages, 64 KiB
const faultAroundPages = 16

// faultAround maps pages of the window around the address that are in the page cache and at rest, where slots are empty,
// and reports whether the address was among them. Nothing is read in.
//
// Linux: mm/memory.c:do_fault_around(), mm/filemap.c:filemap_map_pages()
func (f *fault) faultAround() (bool, error) {
	first, last := f.window()
	pfn, ok := f.anyCached(first, last)
	if !ok {
		return false, nil
	}
	if f.mapFilePMD(pfn) {
		return true, nil
	}
	c, err := f.s.tree.LockPTEs(f.va, true)
	switch {
	case noMemory(err):
		return false, f.oom()
	case err != nil:
		return true, nil // a huge page came in between
	}
	defer c.Unlock()
	done := false
	for i := first; i <= last; i++ {
		pfn, ok := f.mappable(c.Addr(i))
		if !ok || !c.Get(i).None() {
			continue
		}
		c.Set(i, f.fileEntry(pfn))
		f.m.dupMapping(pfn)
		done = done || i == f.slot()
	}
	return done, nil
}

// window returns the first and last slot of the window: 16 pages, aligned, or counted from where the area or the table
// begins, and cut where they end.
func (f *fault) window() (first, last int) {
	first = f.slot() &^ (faultAroundPages - 1)
	if off := uint64(f.va-f.v.Start) / x86.PageSize; off < uint64(f.slot()-first) {
		first = f.slot() - int(off)
	}
	last = min(first+faultAroundPages, x86.EntriesPerTable) - 1
	if left := uint64(f.v.End-f.va)/x86.PageSize - 1; left < uint64(last-f.slot()) {
		last = f.slot() + int(left)
	}
	return first, last
}

// anyCached returns the first page that can be mapped. Without any, no table is needed.
func (f *fault) anyCached(first, last int) (x86.PFN, bool) {
	for i := first; i <= last; i++ {
		if pfn, ok := f.mappable(f.va + x86.Virt(i-f.slot())*x86.PageSize); ok {
			return pfn, true
		}
	}
	return 0, false
}

// mappable returns the page of the file for va, if it can be mapped without waiting.
//
// Linux: mm/filemap.c:next_uptodate_folio()
func (f *fault) mappable(va x86.Virt) (x86.PFN, bool) {
	file, index := f.v.file, f.v.index(va)
	pfn, ok := file.cache[index]
	if !ok || index >= file.pages() {
		return 0, false
	}
	return pfn, f.m.folio(pfn).flags&pgLocked == 0 && f.m.pages[pfn].flags&pgPoison == 0
}
