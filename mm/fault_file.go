package mm

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// fileFault handles an empty slot, or a uffd-wp marker, in an area that maps a file.
//
// Linux: mm/memory.c:do_fault()
func (f *fault) fileFault() error {
	switch {
	case f.flags&faultWrite == 0:
		return f.readFault()
	case !f.v.shared():
		return f.cowFault()
	}
	return f.sharedFault()
}

// readFault maps the page of the file, and with it neighbours that are in the page cache.
//
// Linux: mm/memory.c:do_read_fault()
func (f *fault) readFault() error {
	if f.v.flags&VMUffdWP == 0 {
		if done, err := f.faultAround(); done || err != nil {
			return err
		}
	}
	pfn, err := f.filePage()
	if pfn == 0 {
		return err
	}
	defer f.m.put(pfn)
	_, err = f.mapFile(pfn)
	return err
}

// cowFault gives a private area its own copy of the page at once.
//
// Linux: mm/memory.c:do_cow_fault()
func (f *fault) cowFault() error {
	f.v.prepareAnon()
	to, err := f.m.alloc(0)
	if err != nil {
		return f.oom()
	}
	pfn, err := f.filePage()
	if pfn == 0 {
		f.m.put(to)
		return err
	}
	defer f.m.put(pfn)
	*f.m.content(to) = *f.m.content(pfn)
	f.c.point(PointCopied)
	c, ok, err := f.relockNew()
	if !ok {
		f.m.put(to)
		return err
	}
	defer c.Unlock()
	c.Set(f.slot(), f.fileEntry(to))
	f.m.addNewAnon(to, f.v, f.va)
	return nil
}

// sharedFault maps the page for writing.
//
// Linux: mm/memory.c:do_shared_fault()
func (f *fault) sharedFault() error {
	pfn, err := f.filePage()
	if pfn == 0 {
		return err
	}
	defer f.m.put(pfn)
	if !f.askFile(pfn) {
		return nil
	}
	stored, err := f.mapFile(pfn)
	if stored {
		f.m.folio(pfn).flags |= pgDirty
	}
	return err
}

// writeShared handles a write to a page that a shared area maps read-only.
//
// Linux: mm/memory.c:wp_page_shared(), wp_pfn_shared()
func (f *fault) writeShared(pfn x86.PFN, normal bool) error {
	if !normal {
		f.reuseShared()
		return nil
	}
	f.m.get(pfn)
	defer f.m.put(pfn)
	if f.askFile(pfn) && f.reuseShared() {
		f.m.folio(pfn).flags |= pgDirty
	}
	return nil
}

// askFile tells the file system, if it wants to know, that the page is about to be written. False: the page is not the
// file's any more, and the access is to be made again.
//
// Linux: mm/memory.c:do_page_mkwrite(), mm/filemap.c:filemap_page_mkwrite()
func (f *fault) askFile(pfn x86.PFN) bool {
	file := f.v.file
	if file == nil || !file.mkWrite {
		return true
	}
	if !file.has(pfn) {
		return false
	}
	f.m.folio(pfn).flags |= pgDirty
	f.c.point(PointMkWrite)
	return file.has(pfn)
}

// reuseShared makes the entry writable, and reports whether it still was what the fault found.
//
// Linux: mm/memory.c:finish_mkwrite_fault(), wp_page_reuse()
func (f *fault) reuseShared() bool {
	c, ok := f.relock()
	if !ok {
		return false
	}
	defer c.Unlock()
	e := f.m.mkWrite(f.v, f.va, f.orig.MkYoung().MkDirty(f.m.abi), GainReuse)
	c.SetAccessFlags(f.slot(), e, true)
	return true
}

// filePage returns the page of the file, with a reference. Without a page and an error, the access is to be made again.
//
// Linux: mm/memory.c:__do_fault(), mm/filemap.c:filemap_fault(), mm/shmem.c:shmem_fault()
func (f *fault) filePage() (x86.PFN, error) {
	file, index := f.v.file, f.v.index(f.va)
	if index >= file.pages() {
		return 0, f.bus()
	}
	if file.shmem && f.v.flags&VMUffdMissing != 0 && file.vacant(index, index+1) {
		return 0, f.userfault(false)
	}
	pfn, err := file.page(index)
	switch {
	case errors.Is(err, ErrNoMem):
		return 0, f.oom()
	case errors.Is(err, ErrBusy):
		return 0, &WaitError{f.va}
	case err != nil:
		return 0, f.bus()
	case f.m.pages[pfn].flags&pgPoison == 0:
		return pfn, nil
	}
	if file.evictClean(pfn) {
		return 0, nil
	}
	f.m.put(pfn)
	return 0, &AccessError{f.va, BusHWPoison}
}

// evictClean drops the page, to which the caller has a reference that goes too, if it can be read again.
//
// Linux: mm/truncate.c:mapping_evict_folio()
func (f *File) evictClean(pfn x86.PFN) bool {
	head := f.m.head(pfn)
	p := &f.m.pages[head]
	if p.flags&pgDirty != 0 || f.m.mapcount(head) > 0 || p.ref != 1+1<<p.order {
		return false
	}
	f.uncache(head)
	f.left(head)
	f.m.put(head)
	return true
}

// mapFile stores the entry for page pfn of the file, or those for its whole folio, and reports whether it did.
//
// Linux: mm/memory.c:finish_fault(), set_pte_range(); until 6.4 do_set_pte()
func (f *fault) mapFile(pfn x86.PFN) (bool, error) {
	if f.mapFilePMD(pfn) {
		return true, nil
	}
	c, ok, err := f.relockNew()
	if !ok {
		return false, err
	}
	defer c.Unlock()
	slot, n := f.slot(), 1
	if before, all, ok := f.wholeFolio(pfn); ok && empty(c, slot-before, all) {
		slot, pfn, n = slot-before, pfn-x86.PFN(before), all
	}
	c.SetRange(slot, n, f.fileEntry(pfn))
	for i := range x86.PFN(n) {
		f.m.dupMapping(pfn + i)
	}
	return true, nil
}

// empty reports that n slots from first on are none. Linux: mm/memory.c:pte_range_none()
func empty(c pgtable.PTECursor, first, n int) bool {
	for i := first; i < first+n; i++ {
		if !c.Get(i).None() {
			return false
		}
	}
	return true
}

// wholeFolio returns how many pages of the folio lie before page pfn, and how many there are, if the fault should and can
// map all of them.
func (f *fault) wholeFolio(pfn x86.PFN) (before, n int, ok bool) {
	p, file := &f.m.Policy, f.v.file
	if !p.FaultMapsFileFolio && !(p.FaultMapsShmFolio && file.anon) || f.v.flags&vmUffd != 0 {
		return 0, 0, false
	}
	before, n = int(pfn-f.m.head(pfn)), f.m.folioSize(pfn)
	off, after := int(f.va-f.v.Start)/x86.PageSize, n-before
	switch {
	case off < before || off+after > int(f.v.pages()):
		return 0, 0, false
	case f.slot() < before || f.slot()+after > x86.EntriesPerTable:
		return 0, 0, false
	case !file.shmem && f.v.index(f.va)+uint64(after) > file.pages():
		return 0, 0, false
	}
	return before, n, true
}

// fileEntry is the entry for page pfn: one of the file, or a private copy.
func (f *fault) fileEntry(pfn x86.PFN) x86.PTE {
	m := f.m
	e := x86.MkPTE(m.abi, pfn, f.v.prot)
	switch {
	case f.flags&faultWrite != 0:
		e = m.mkWrite(f.v, f.va, e.MkDirty(m.abi), GainFault)
	case m.Policy.ReadFaultDirty && e.Write(m.abi) && m.folio(pfn).flags&pgDirty != 0:
		e = e.MkDirty(m.abi)
	}
	if f.wasMarker() {
		e = e.WrProtect(m.abi).MkUffdWP(m.abi)
	}
	return e
}
