package mm

import "ptemu/arch/x86"

// PageInfo is what is known of the page in a frame, for those who look on.
type PageInfo struct {
	Refs, Mapcount int // of its folio
	Order, Node    uint8
	Exclusive      bool // PageAnonExclusive
	Anon, KSM      bool
	Zero           bool // a zero page, or part of the huge one
	Pinned         bool // folio_maybe_dma_pinned()
	SwapCached     bool
	Dirty          bool
}

// Page returns what is known of the page in frame pfn. False: the frame is beyond memory.
func (m *Machine) Page(pfn x86.PFN) (PageInfo, bool) {
	if uint64(pfn) >= uint64(len(m.pages)) {
		return PageInfo{}, false
	}
	f := m.folio(pfn)
	return PageInfo{
		Refs: int(f.ref), Mapcount: m.mapcount(pfn), Order: f.order, Node: f.node, Exclusive: m.exclusive(pfn), Anon: f.flags&pgAnon != 0,
		KSM: f.flags&pgKSM != 0, Zero: pfn == m.zero || m.huge != 0 && m.head(pfn) == m.huge, Pinned: m.maybePinned(pfn),
		SwapCached: f.flags&pgSwapCache != 0, Dirty: f.flags&pgDirty != 0,
	}, true
}

// FlushPending reports that processors have not been told of everything that changed. Linux: mm_tlb_flush_pending()
func (s *Space) FlushPending() bool { return s.flushPending() }
