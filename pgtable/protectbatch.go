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
func (p *Protection) settled(t *ptescan.Table, first, last int) bool {
	ref := x86.PTE(t[first])
	if ref.Dirty(p.abi) && ref.MkDirty(p.abi) != ref {
		return false
	}
	if last-first < wordBits {
		differ := uint64(0)
		for _, e := range t[first : last+1] {
			differ |= e ^ uint64(ref)
		}
		return differ&p.merged.Attributes == 0
	}
	var b Bitmap
	if !ptescan.Breaks(&p.merged, t, t[0], &b) {
		return true
	}
	b[first/wordBits] &= ^uint64(1) << (first % wordBits)
	b[last/wordBits] &= ^uint64(0) >> (wordBits - 1 - last%wordBits)
	found := uint64(0)
	for _, w := range b[first/wordBits : last/wordBits+1] {
		found |= w
	}
	return found == 0
}

// mergedRuns tells where the state that merging makes the same, and what it depends on, changes.
func mergedRuns(a *x86.ABI) x86.PTERuns {
	return x86.PTERuns{
		Attributes: x86.PageRW | x86.PageAccessed | x86.PageDirty | a.SavedDirtyMask() | x86.PageSoftDirty,
	}
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
