package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// flushBatch is what reclaim owes to the processors. It is paid before a page is written or freed, at the latest: a
// processor that has cached a writable and dirty entry may write until then.
//
// Linux: include/linux/mm_types_task.h:struct tlbflush_unmap_batch
type flushBatch struct {
	c      *CPU
	spaces []*Space
}

// owe notes that an entry of s was replaced. Linux: mm/rmap.c:set_tlb_ubc_flush_pending()
func (b *flushBatch) owe(s *Space) {
	s.batched = true
	for _, o := range b.spaces {
		if o == s {
			return
		}
	}
	b.spaces = append(b.spaces, s)
	s.m.event(Event{Kind: EventOwed, CPU: b.c.id, Tree: s.tree, Flush: pgtable.Flush{All: true}})
}

// flush pays. Linux: mm/rmap.c:try_to_unmap_flush()
func (b *flushBatch) flush() {
	for _, s := range b.spaces {
		s.flushBatched()
	}
	b.spaces = b.spaces[:0]
}

// flushBatched tells processors what reclaim has not told them yet of s. Whoever changes entries calls it first, because
// what reclaim has replaced looks as if nothing were cached.
//
// Linux: mm/rmap.c:flush_tlb_batched_pending()
func (s *Space) flushBatched() {
	if s.batched {
		s.batched = false
		if !s.exited {
			s.m.FlushTLB(s.tree, pgtable.Flush{All: true})
		}
	}
}

// Reclaim takes the page in frame pfn, or its whole folio, out of memory, as the kernel does when memory is short and
// the page was not used lately: mappings are replaced by swap entries, or removed; what is not in the backing store is
// written. It reports whether the memory is free now; if somebody holds the page, part of the way may be done.
//
// Linux: mm/vmscan.c:shrink_folio_list()
func (m *Machine) Reclaim(c *CPU, pfn x86.PFN) (bool, error) {
	if uint64(pfn) >= uint64(len(m.pages)) || m.folio(pfn).ref == 0 || m.folio(pfn).flags&pgReserved != 0 {
		return false, fmt.Errorf("mm: reclaim of frame %#x: %w", uint64(pfn), ErrInval)
	}
	m.get(pfn)
	return m.shrink(c, m.head(pfn)), nil
}

// shrink reclaims the folio at head, to which the caller has a reference that is given back here.
func (m *Machine) shrink(c *CPU, head x86.PFN) bool {
	f := &m.pages[head]
	if f.flags&(pgLocked|pgNoLRU) != 0 || m.mlocked(head) {
		m.put(head)
		return false
	}
	if f.order > 0 && f.flags&(pgSwapBacked|pgSwapCache) == pgSwapBacked && !m.maybePinned(head) && m.splitsFirst(f) {
		return m.shrinkPages(c, head)
	}
	if f.flags&(pgAnon|pgSwapBacked|pgSwapCache) == pgAnon|pgSwapBacked {
		if m.maybePinned(head) || f.order > 0 && f.ref != 1+int32(m.mapcount(head)) { // a large one could not be split
			m.put(head)
			return false
		}
		if !m.addToSwap(head) {
			if f.order > 0 {
				return m.shrinkPages(c, head)
			}
			m.put(head)
			return false
		}
	}
	f.flags |= pgLocked
	b := flushBatch{c: c}
	m.shrinkLocked(c, &b, head)
	b.flush()
	f.flags &^= pgLocked
	free := f.ref == 1
	m.put(head)
	return free
}

// splitsFirst reports that the large folio does not go to swap as a whole.
func (m *Machine) splitsFirst(f *page) bool {
	if m.Policy.SplitsPartlyMapped && f.flags&(pgAnon|pgPartly) == pgAnon|pgPartly {
		return true
	}
	return !m.Policy.SwapLarge && f.whole == 0
}

// shrinkPages splits the folio and reclaims its pages one by one.
func (m *Machine) shrinkPages(c *CPU, head x86.PFN) bool {
	n := x86.PFN(1) << m.pages[head].order
	if !m.splitFolio(c, head) {
		m.put(head)
		return false
	}
	all := m.shrink(c, head)
	for i := x86.PFN(1); i < n; i++ {
		if m.pages[head+i].ref > 0 {
			m.get(head + i)
			all = m.shrink(c, head+i) && all
		}
	}
	return all
}

// mlocked reports that a locked area maps the folio. Linux: include/linux/page-flags.h:folio_test_mlocked()
func (m *Machine) mlocked(head x86.PFN) (locked bool) {
	for i := range x86.PFN(1) << m.pages[head].order {
		m.eachMapping(head+i, false, func(p Mapping) bool {
			locked = p.VMA.flags&VMLocked != 0
			return !locked
		})
		if locked {
			return true
		}
	}
	return false
}

// addToSwap finds slots for the folio. Linux: mm/swap_state.c:add_to_swap()
func (m *Machine) addToSwap(head x86.PFN) bool {
	f := &m.pages[head]
	slot, ok := m.swap.alloc(1 << f.order)
	if ok {
		m.swap.cache(head, slot)
		f.flags |= pgDirty
	}
	return ok
}

// shrinkLocked unmaps the folio, writes it, and takes it out of its cache, as far as that can be done.
func (m *Machine) shrinkLocked(c *CPU, b *flushBatch, head x86.PFN) {
	f := &m.pages[head]
	n := int32(1) << f.order
	if m.mapcount(head) > 0 {
		ok := m.unmapFolio(c, b, head)
		c.point(PointUnmapped)
		if !ok || m.mapcount(head) > 0 {
			m.keep(head)
			return
		}
	}
	if m.maybePinned(head) {
		m.keep(head)
		return
	}
	if f.file != nil {
		m.reclaimFile(b, head)
		return
	}
	if f.flags&pgSwapCache == 0 {
		return // lazily freed, or nobody needs it any more
	}
	if f.flags&pgDirty != 0 {
		b.flush() // from now on the content is fixed
		if f.ref != 1+n {
			return
		}
		if m.freeSwapCache(head); f.flags&pgSwapCache == 0 {
			return
		}
		m.swap.writeFolio(head)
	}
	if b.flush(); f.ref == 1+n {
		m.swap.uncache(head)
	}
}

// keep is what becomes of a folio that cannot be reclaimed now. Linux: mm/vmscan.c:shrink_folio_list(), activate_locked
func (m *Machine) keep(head x86.PFN) {
	if m.swap.full() {
		m.freeSwapCache(head)
	}
}
