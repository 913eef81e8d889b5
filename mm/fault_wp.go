package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// writeProtected handles a write to a page that is mapped read-only, or the wish for a page of one's own.
//
// Linux: mm/memory.c:do_wp_page()
func (f *fault) writeProtected() error {
	unshare := f.flags&faultUnshare != 0
	if !unshare {
		if f.v.uffdWPs(f.orig) {
			if !f.v.uffd.wpAsync() {
				return f.userfault(true)
			}
			if !f.clearAsync() {
				return nil
			}
		}
		if f.v.flags&VMUffdWP != 0 && f.s.flushPending() && f.m.Policy.WPFaultFlushes {
			f.s.flushPage(f.va)
		}
	}
	pfn, normal := f.m.normal(f.orig)
	if f.sharedMapping() {
		if unshare {
			return nil
		}
		return f.writeShared(pfn, normal)
	}
	if normal && f.m.anonPage(pfn) {
		if f.mayTake(pfn) {
			if unshare { // nothing is stored
				f.take(pfn)
				return nil
			}
			return f.reuse(pfn)
		}
	} else if unshare && !f.m.Policy.UnshareCopiesFile {
		return nil
	}
	return f.copyPage(pfn, normal)
}

// sharedMapping reports that a write goes to what others see.
func (f *fault) sharedMapping() bool {
	if f.m.Policy.SharedByMayShare {
		return f.v.flags&(x86.VMShared|VMMayShare) != 0
	}
	return f.v.flags&(x86.VMShared|x86.VMWrite) == x86.VMShared|x86.VMWrite
}

// clearAsync ends the write protection without asking anybody, and reports whether the entry was still there.
func (f *fault) clearAsync() bool {
	c, ok := f.relock()
	if !ok {
		return false
	}
	f.orig = f.orig.ClearUffdWP()
	c.Set(f.slot(), f.orig)
	c.Unlock()
	return true
}

// mayTake reports that the anonymous page may be written in place: nobody else can see it.
//
// Linux: mm/memory.c:wp_can_reuse_anon_folio(), and what it replaced
func (f *fault) mayTake(pfn x86.PFN) bool {
	folio := f.m.folio(pfn)
	ksm := folio.flags&pgKSM != 0
	switch f.m.Policy.Reuse {
	case ReuseCount:
		return !ksm && folio.ref == 1
	case ReuseMapcount:
		return !ksm && f.m.mapcount(pfn) == 1 && f.m.swap.users(folio) == 0
	}
	if f.m.exclusive(pfn) {
		return true
	}
	if ksm {
		return false
	}
	if folio.order > 0 && f.m.Policy.ReuseLarge != ReuseLargeCount {
		return f.m.Policy.ReuseLarge == ReuseLargeMapcount && f.ownsLarge(pfn)
	}
	return f.m.soleOwner(pfn)
}

// soleOwner reports that the entry at hand has the only reference, once the swap cache has given up its own.
func (m *Machine) soleOwner(pfn x86.PFN) bool {
	folio := m.folio(pfn)
	cached := int32(0)
	if folio.flags&pgSwapCache != 0 {
		cached = 1
	}
	if folio.ref > 3 || folio.ref > 1+cached {
		return false
	}
	if cached != 0 {
		m.freeSwapCache(m.head(pfn))
	}
	return folio.ref == 1
}

// ownsLarge reports that all references to the large folio are mappings of this address space.
//
// Linux: mm/memory.c:__wp_can_reuse_large_anon_folio()
func (f *fault) ownsLarge(pfn x86.PFN) bool {
	head := f.m.head(pfn)
	folio := &f.m.pages[head]
	n := int32(f.m.mapcount(pfn))
	if n <= 1 || f.m.sharedMappings(head) {
		return false
	}
	if folio.flags&pgSwapCache != 0 && folio.ref == n+int32(f.m.folioSize(pfn)) {
		f.m.freeSwapCache(head)
	}
	return folio.ref == n
}

// sharedMappings reports that more than one address space maps pages of the large folio, as far as the kernel knows.
//
// Linux: include/linux/mm.h:folio_maybe_mapped_shared(), in 6.12 folio_likely_mapped_shared()
func (m *Machine) sharedMappings(head x86.PFN) bool {
	if m.Policy.Sharing == SharingGuess {
		return m.likelyShared(head)
	}
	var first *Space
	shared := false
	for i := range x86.PFN(1) << m.pages[head].order {
		m.mayMap(head, m.pages[head].index+uint64(i), func(p Place) bool {
			if !m.seen(p, head+i) {
				return true
			}
			shared = shared || first != nil && first != p.Space
			first = p.Space
			return !shared
		})
	}
	return shared
}

// seen reports that the entry at p maps page pfn, without a lock: the caller may hold that of the table.
func (m *Machine) seen(p Place, pfn x86.PFN) bool {
	var path [5]pgtable.Entry
	entries := p.Space.tree.Walk(p.VA, path[:0])
	e := entries[len(entries)-1]
	switch e.Level {
	case x86.LevelPTE:
		got, ok := m.framePTE(x86.PTE(e.Value), false)
		return ok && got == pfn
	case x86.LevelPMD:
		got, ok := m.framePMD(x86.PMD(e.Value), false)
		return ok && got == m.head(pfn)
	}
	return false
}

// reuse makes the page writable where it is.
//
// Linux: mm/memory.c:wp_page_reuse()
func (f *fault) reuse(pfn x86.PFN) error {
	c, ok := f.relock()
	if !ok {
		return nil
	}
	defer c.Unlock()
	f.take(pfn)
	e := f.m.mkWrite(f.v, f.va, f.orig.MkYoung().MkDirty(f.m.abi), GainReuse)
	c.SetAccessFlags(f.slot(), e, true)
	return nil
}

// take makes the anonymous page one of this area alone.
//
// Linux: mm/rmap.c:folio_move_anon_rmap()
func (f *fault) take(pfn x86.PFN) {
	if !f.m.exclusive(pfn) {
		f.m.takeAnon(pfn, f.v)
	}
}

// copyPage gives the area a page of its own: a copy of pfn, or, of the zero page, zeros.
//
// Linux: mm/memory.c:wp_page_copy()
func (f *fault) copyPage(pfn x86.PFN, normal bool) error {
	f.v.prepareAnon()
	to, err := f.m.allocFor(normal)
	if err != nil {
		return f.oom()
	}
	if normal {
		f.m.get(pfn)
		defer f.m.put(pfn)
		*f.m.content(to) = *f.m.content(pfn)
	}
	f.c.point(PointCopied)
	c, ok := f.relock()
	if !ok {
		f.m.put(to)
		return nil
	}
	defer c.Unlock()
	c.Clear(f.slot())
	f.s.flushPage(f.va)
	c.Set(f.slot(), f.copied(to))
	f.m.addNewAnon(to, f.v, f.va)
	if normal {
		f.m.removeMapping(pfn)
		f.m.putUnmapped(pfn)
	}
	return nil
}

// copied is the entry for the copy.
func (f *fault) copied(to x86.PFN) x86.PTE {
	e := x86.MkPTE(f.m.abi, to, f.v.prot)
	if f.flags&faultUnshare == 0 {
		return f.m.mkWrite(f.v, f.va, e.MkDirty(f.m.abi), GainFault)
	}
	if f.orig.SoftDirty() {
		e = e.MkSoftDirty()
	}
	if f.orig.UffdWP() {
		e = e.MkUffdWP(f.m.abi)
	}
	return e
}
