package mm

import "ptemu/arch/x86"

// splitFolio makes single pages of the large folio at head, to which the caller has one reference; it keeps one to the
// page at head. It fails if others hold the folio.
//
// Linux: mm/huge_memory.c:split_huge_page_to_list_to_order()
func (m *Machine) splitFolio(c *CPU, head x86.PFN) bool {
	f := &m.pages[head]
	if f.ref != 1+int32(m.mapcount(head))+m.cacheRefs(head) {
		return false
	}
	ok := true
	if f.whole > 0 {
		m.eachMapping(head, false, func(p Mapping) bool {
			if p.Huge {
				ok = c.splitHugePMD(p.VMA, p.VA) == nil && ok
			}
			return true
		})
	}
	if !ok || f.ref != 1+int32(m.mapcount(head))+m.cacheRefs(head) {
		return false
	}
	if f.flags&pgAnon != 0 {
		m.unmapForMigration(c, head)
	} else { // faults map the pages again
		b := flushBatch{c: c}
		m.unmapFolio(c, &b, head)
		b.flush()
	}
	if m.mapcount(head) > 0 {
		m.restoreMigration(head, head)
		return false
	}
	n := x86.PFN(1) << f.order
	whole := *f
	whole.order, whole.ref, whole.mapped = 0, 0, 0
	if m.cacheRefs(head) > 0 {
		whole.ref = 1
	}
	for i := range n {
		single := whole
		single.flags = whole.flags&^pgPoison | m.pages[head+i].flags&pgPoison
		single.index += uint64(i)
		if whole.flags&pgSwapCache != 0 {
			single.slot += uint64(i)
		}
		single.ref++ // the caller's, until the page is mapped again
		m.pages[head+i] = single
	}
	m.large--
	for i := range n {
		m.restoreMigration(head+i, head+i)
	}
	for i := x86.PFN(1); i < n; i++ {
		m.put(head + i)
	}
	return true
}
