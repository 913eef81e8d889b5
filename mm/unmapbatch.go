package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// mergeUnmapBatch is what unmapping several pages of a large folio at once does to entries that stay: slot i, which maps
// page pfn, and those behind it that differ in A and D only get A and D of all. Only pages that were given up lazily are
// looked at, since of all others nothing stays.
//
// Linux: mm/rmap.c:folio_unmap_pte_batch()
func (m *Machine) mergeUnmapBatch(v *VMA, c pgtable.PTECursor, i int, pfn x86.PFN) {
	f := m.folio(pfn)
	first := c.Get(i)
	if !m.Policy.UnmapsBatches || f.order == 0 || f.flags&(pgAnon|pgSwapBacked) != pgAnon || first.UffdWP() {
		return
	}
	n, young, dirty := 0, false, false
	end := m.head(pfn) + x86.PFN(m.folioSize(pfn))
	bare := func(e x86.PTE) x86.PTE { return e.MkOld().MkClean(m.abi) }
	for next := bare(first); i+n < x86.EntriesPerTable && pfn+x86.PFN(n) < end && c.Addr(i+n) < v.End; n++ {
		e := c.Get(i + n)
		if bare(e) != next {
			break
		}
		young, dirty = young || e.Young(), dirty || e.Dirty(m.abi)
		next = next.AdvancePFN(1)
	}
	if !dirty {
		return
	}
	for j := range n {
		e := c.Get(i + j).MkDirty(m.abi)
		if young {
			e = e.MkYoung()
		}
		c.Set(i+j, e)
	}
}
