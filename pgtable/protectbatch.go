package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// A kernel with ProtectBatches clears a run of PTEs that map one large folio before it changes the first of them and
// writes the result to all. A and the dirty state that any of them had are then those of all. What follows depends on
// the merged value alone, or on the single page, so merging first and changing each entry after comes to the same.

// settled reports that merging would change nothing in slots first to last: all entries have the same A and dirty
// state, and marking one dirty changes nothing. (It would where soft-dirty is missing, or D is where a read-only entry
// does not keep it.)
func settled(a *x86.ABI, t *ptescan.Table, first, last int) bool {
	merged := x86.PageRW | x86.PageAccessed | x86.PageDirty | a.SavedDirtyMask() | x86.PageSoftDirty
	ref := x86.PTE(t[first])
	if ref.Dirty(a) && ref.MkDirty(a) != ref {
		return false
	}
	ones, zeros := uint64(0), ^uint64(0)
	entries := t[first : last+1]
	for ; len(entries) >= 8; entries = entries[8:] {
		e := (*[8]uint64)(entries)
		ones |= e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]
		zeros &= e[0] & e[1] & e[2] & e[3] & e[4] & e[5] & e[6] & e[7]
	}
	for _, e := range entries {
		ones |= e
		zeros &= e
	}
	return (ones^zeros)&merged == 0
}

// mergeBatches gives the pages of each batch in slots first to last their common A and dirty state. On return skip has
// all of a batch or nothing: what holds for its first page.
//
// Linux: mm/mprotect.c:mprotect_folio_pte_batch(); include/linux/pgtable.h:modify_prot_start_ptes()
func (p *Protection) mergeBatches(t *ptescan.Table, first, last int, skip *Bitmap) {
	numa := p.Flags&x86.ChangeNUMA != 0
	for i := first; i <= last; {
		e := x86.PTE(t[i])
		if !e.Present() || numa && e.Protnone() {
			i++
			continue
		}
		end := p.folioEnd(e, i, last)
		skipped := skip.Has(i)
		end = p.batchEnd(t, i, end, skipped)
		if skipped {
			for j := i + 1; j < end; j++ {
				skip.Set(j)
			}
		} else if end-i > 1 {
			for j := i + 1; j < end; j++ {
				skip[j>>6] &^= 1 << (j & 63)
			}
			p.merge(t, i, end)
		}
		i = end
	}
}

// folioEnd returns where the folio of page e, at slot i, ends at the latest: i+1 if it is not large.
func (p *Protection) folioEnd(e x86.PTE, i, last int) int {
	if e.Special() {
		return i + 1 // no page
	}
	pfn := e.PFN(p.abi)
	first, frames := p.Folios.Folio(pfn)
	left := uint64(first) + frames - uint64(pfn)
	if frames < 2 || pfn < first || left > frames {
		return i + 1
	}
	return i + int(min(left, uint64(last+1-i)))
}

// batchEnd returns the end of the batch that begins at slot i, at most end. With loose, RW and soft-dirty may differ
// too.
//
// Linux: mm/internal.h:folio_pte_batch_flags()
func (p *Protection) batchEnd(t *ptescan.Table, i, end int, loose bool) int {
	expected := p.comparable(x86.PTE(t[i]), loose)
	for j := i + 1; j < end; j++ {
		expected = expected.AdvancePFN(1)
		if p.comparable(x86.PTE(t[j]), loose) != expected {
			return j
		}
	}
	return end
}

// comparable clears what may differ within a batch. Linux: mm/internal.h:__pte_batch_clear_ignored()
func (p *Protection) comparable(e x86.PTE, loose bool) x86.PTE {
	e = e.MkClean(p.abi)
	if loose {
		e = e.ClearSoftDirty().WrProtect(p.abi)
	}
	return e.MkOld()
}

// merge writes to slots i to end-1 what the kernel takes their old value to be.
func (p *Protection) merge(t *ptescan.Table, i, end int) {
	e := x86.PTE(t[i])
	dirty, young := false, false
	for _, v := range t[i+1 : end] {
		dirty = dirty || x86.PTE(v).Dirty(p.abi)
		young = young || x86.PTE(v).Young()
	}
	if dirty {
		e = e.MkDirty(p.abi)
	}
	if young {
		e = e.MkYoung()
	}
	for j := i; j < end; j++ {
		t[j] = uint64(e)
		e = e.AdvancePFN(1)
	}
}
