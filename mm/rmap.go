package mm

import (
	"cmp"
	"slices"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// anonVMA is what anonymous pages and the areas that may map them have in common.
//
// Linux: include/linux/rmap.h:struct anon_vma
type anonVMA struct{ root *anonVMA }

// prepareAnon gives the area an anonVMA before its first anonymous page; a neighbour's, if they could be merged.
//
// Linux: mm/rmap.c:__anon_vma_prepare()
func (v *VMA) prepareAnon() {
	if v.anon != nil {
		return
	}
	if n := v.reusableAnon(); n != nil {
		v.anon = n
		return
	}
	v.anon = &anonVMA{}
	v.anon.root = v.anon
}

// addNewAnon makes the new folio at pfn an anonymous one of v, mapped once at va, and exclusive. The reference of
// the caller becomes that of the mapping.
//
// Linux: mm/rmap.c:folio_add_new_anon_rmap()
func (m *Machine) addNewAnon(pfn x86.PFN, v *VMA, va x86.Virt) {
	f := &m.pages[pfn]
	f.flags |= pgAnon | pgSwapBacked
	f.anon, f.index = v.anon, v.index(va)
	n := x86.PFN(1) << f.order
	for i := range n {
		m.pages[pfn+i].mapped = 1
		m.setExclusive(pfn+i, true)
	}
	f.ref += int32(n) - 1
}

// dupMapping counts another PTE that maps page pfn, with a reference of its own. Linux: folio_dup_anon_rmap_pte(),
// folio_add_file_rmap_pte()
func (m *Machine) dupMapping(pfn x86.PFN) {
	p := &m.pages[pfn]
	p.mapped++
	if p.flags&pgTail != 0 {
		p = m.folio(pfn)
	}
	p.ref++
}

// addMapping counts another PTE that maps page pfn, with a reference that the caller holds already.
func (m *Machine) addMapping(pfn x86.PFN) { m.pages[pfn].mapped++ }

// removeMapping takes back what a PTE counted, but not its reference: the caller gives that back, after a flush where
// one is owed. Linux: mm/rmap.c:folio_remove_rmap_pte()
func (m *Machine) removeMapping(pfn x86.PFN) {
	switch m.pages[pfn].mapped--; {
	case m.pages[pfn].mapped < 0:
		panic("mm: more mappings removed than there were")
	case m.pages[pfn].mapped == 0 && m.large > 0:
		m.markPartly(m.head(pfn))
	}
}

// markPartly notes that a mapping of the folio is gone, if some of its pages, but not all, are mapped nowhere now.
//
// Linux: mm/huge_memory.c:deferred_split_folio()
func (m *Machine) markPartly(head x86.PFN) {
	f := &m.pages[head]
	const least = 2 // smaller folios cannot be queued
	if f.order < least || f.whole > 0 || f.flags&(pgAnon|pgPartly|pgSwapCache) != pgAnon {
		return
	}
	mapped, n := 0, m.folioSize(head)
	for i := range x86.PFN(n) {
		if m.pages[head+i].mapped > 0 {
			mapped++
		}
	}
	if mapped > 0 && mapped < n {
		f.flags |= pgPartly
	}
}

// takeAnon makes the page belong to v alone. Linux: mm/rmap.c:folio_move_anon_rmap()
func (m *Machine) takeAnon(pfn x86.PFN, v *VMA) {
	v.prepareAnon()
	m.folio(pfn).anon = v.anon
	m.setExclusive(pfn, true)
}

// tryShare ends that the page is exclusive, which a pin prevents. Linux: include/linux/rmap.h:folio_try_share_anon_rmap_pte()
func (m *Machine) tryShare(pfn x86.PFN) bool {
	if m.maybePinned(pfn) {
		return false
	}
	m.setExclusive(pfn, false)
	return true
}

// Place is an address of an address space that maps a page.
type Place struct {
	Space *Space
	VMA   *VMA
	VA    x86.Virt
}

// mayMap calls f for the places that may map the page of the folio at head, at index within its mapping: every area that
// covers it, whatever the entries say. It ends when f returns false.
//
// Linux: mm/rmap.c:rmap_walk()
func (m *Machine) mayMap(head x86.PFN, index uint64, f func(p Place) bool) {
	folio := &m.pages[head]
	if folio.flags&pgKSM != 0 {
		m.mayMapKSM(head, f)
		return
	}
	for _, s := range m.spaces {
		for _, v := range s.vmas {
			if !v.sameMapping(folio) || index < v.pgoff || index >= v.pgoff+v.pages() {
				continue
			}
			if !f(Place{s, v, v.Start + x86.Virt(index-v.pgoff)*x86.PageSize}) {
				return
			}
		}
	}
}

// sameMapping reports that pages of the folio's mapping may be mapped in v.
func (v *VMA) sameMapping(f *page) bool {
	if f.flags&pgAnon != 0 {
		return v.anon != nil && f.anon != nil && v.anon.root == f.anon.root
	}
	return f.file != nil && v.file == f.file
}

// Mapping is an entry that maps a page: a PTE, or, of a huge page, a PMD.
type Mapping struct {
	Place
	Huge bool
}

// eachMapping calls f for the PTEs and PMDs that map page pfn now, as present entries or, with migration, as migration
// entries for it. No table is locked while f runs.
//
// Linux: mm/page_vma_mapped.c:page_vma_mapped_walk()
func (m *Machine) eachMapping(pfn x86.PFN, migration bool, f func(p Mapping) bool) {
	head := m.head(pfn)
	m.mayMap(head, m.pages[head].index+uint64(pfn-head), func(p Place) bool {
		huge, ok := m.maps(p, pfn, migration)
		return !ok || f(Mapping{p, huge})
	})
}

// eachInAreas calls f for the entries that map pages of the folio at head: area by area, where eachMapping goes page by page.
// What the pages lose in between decides whether the folio counts as mapped in part.
func (m *Machine) eachInAreas(head x86.PFN, f func(p Mapping, pfn x86.PFN)) {
	folio := &m.pages[head]
	if folio.order == 0 {
		m.eachMapping(head, false, func(p Mapping) bool {
			f(p, head)
			return true
		})
		return
	}
	for _, v := range m.areasOf(folio) {
		first, end := max(folio.index, v.pgoff), min(folio.index+1<<folio.order, v.pgoff+v.pages())
		for index := first; index < end; index++ {
			p := Place{v.space, v, v.Start + x86.Virt(index-v.pgoff)*x86.PageSize}
			pfn := head + x86.PFN(index-folio.index)
			if huge, ok := m.maps(p, pfn, false); ok {
				f(Mapping{p, huge}, pfn)
			}
		}
	}
}

// areasOf returns the areas that may map pages of the folio's mapping, by their page offset.
//
// Linux: mm/interval_tree.c
func (m *Machine) areasOf(folio *page) (all []*VMA) {
	for _, s := range m.spaces {
		for _, v := range s.vmas {
			if v.sameMapping(folio) {
				all = append(all, v)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *VMA) int { return cmp.Compare(a.pgoff, b.pgoff) })
	return all
}

// maps reports whether the entry at p maps page pfn, and whether it is a PMD.
func (m *Machine) maps(p Place, pfn x86.PFN, migration bool) (huge, ok bool) {
	e, l := p.Space.tree.Leaf(p.VA)
	if d := x86.PMD(e); l == x86.LevelPMD && !d.None() {
		got, ok := m.framePMD(d, migration)
		return true, ok && got == m.head(pfn)
	}
	got, ok := m.framePTE(x86.PTE(e), migration)
	return false, ok && l == x86.LevelPTE && got == pfn
}

// framePTE returns the page that e maps, or stands for while it migrates.
func (m *Machine) framePTE(e x86.PTE, migration bool) (x86.PFN, bool) {
	if e.None() {
		return 0, false
	}
	if !e.Present() {
		s := m.layout.FromPTE(e)
		return s.PFN(m.layout), migration && s.Migration(m.layout)
	}
	if migration {
		return 0, false
	}
	return m.normal(e)
}

func (m *Machine) framePMD(e x86.PMD, migration bool) (x86.PFN, bool) {
	if !e.Present() {
		return m.layout.FromPMD(e).PFN(m.layout), migration && m.layout.PMDMigration(e)
	}
	if migration {
		return 0, false
	}
	return m.normalPMD(e)
}

// pte returns the PTE at va, 0 where there is no table.
func (s *Space) pte(va x86.Virt) x86.PTE {
	e, l := s.tree.Leaf(va)
	if l != x86.LevelPTE {
		return 0
	}
	return x86.PTE(e)
}

// hugePMD returns the PMD at va if it is a leaf or stands for one.
func (s *Space) hugePMD(va x86.Virt) (x86.PMD, bool) {
	e, l := s.tree.Leaf(va)
	if l != x86.LevelPMD || x86.PMD(e).None() {
		return 0, false
	}
	return x86.PMD(e), true
}

// span returns the pages from first on, n of them.
func span(first x86.Virt, n uint64) pgtable.Range {
	return pgtable.Range{First: first, Last: first + x86.Virt(n)*x86.PageSize - 1}
}
