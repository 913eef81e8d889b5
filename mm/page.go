package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// page is what the kernel knows about one frame that holds content: struct page. A folio is named by its first frame;
// the fields marked "folio" count in the page of that frame only.
//
// Linux: include/linux/mm_types.h:struct page, struct folio
type page struct {
	ref    int32     // folio: references. Each mapping, cache, pin and holder has one
	mapped int32     // PTEs that map this page
	whole  int32     // folio: PMDs that map it as a whole
	pins   int32     // folio, large: pins, beside their references
	held   int32     // folio: how many of the references are those of Pages
	flags  pageFlags // folio, except pgPoison and pgTail
	order  uint8     // folio: of two; its number of frames
	node   uint8     // folio: NUMA node
	anon   *anonVMA  // folio, with pgAnon
	file   *File     // folio: whose page cache it is in
	index  uint64    // folio: page offset in the mapping; with pgTail: how many frames before it the folio begins
	slot   uint64    // folio, with pgSwapCache: first swap slot
	ksm    *ksmNode  // with pgKSM
}

type pageFlags uint16

const (
	pgReserved   pageFlags = 1 << iota // never freed, not counted: the zero pages
	pgTail                             // not the first of its folio
	pgAnon                             // mapped into anonymous areas (PageAnon)
	pgKSM                              // and merged
	pgSwapBacked                       // goes to swap if dirty; an anonymous page without is lazily freed
	pgSwapCache                        // is in the swap cache
	pgDirty                            // differs from its backing store
	pgReferenced                       // was used lately
	pgPoison                           // has failed
	pgNoLRU                            // not on an LRU list
	pgPartly                           // some of its pages, but not all, have lost their last mapping
	pgLocked                           // somebody works on it while it is mapped nowhere (PG_locked): faults wait
)

// pinBias is what a pin adds to the references of a small folio. Linux: include/linux/mm.h:GUP_PIN_COUNTING_BIAS
const pinBias = 1024

// head returns the first frame of the folio that frame pfn belongs to.
func (m *Machine) head(pfn x86.PFN) x86.PFN {
	if p := &m.pages[pfn]; p.flags&pgTail != 0 {
		return pfn - x86.PFN(p.index)
	}
	return pfn
}

// folio returns the page that holds the fields of the folio of pfn.
func (m *Machine) folio(pfn x86.PFN) *page { return &m.pages[m.head(pfn)] }

// folioSize returns the number of frames of the folio of pfn.
func (m *Machine) folioSize(pfn x86.PFN) int { return 1 << m.folio(pfn).order }

// alloc returns a folio of zeros with one reference, of 2^order frames: order 0, or up to that of a huge page.
func (m *Machine) alloc(order uint8) (x86.PFN, error) {
	pfn, err := m.allocFrames(order)
	if err != nil {
		return 0, ErrNoMem
	}
	m.pages[pfn] = m.newPage(order)
	if order > 0 {
		m.large++
	}
	for i := x86.PFN(1); i < 1<<order; i++ {
		m.pages[pfn+i] = page{flags: pgTail, index: uint64(i)}
	}
	return pfn, nil
}

// allocFor returns a page with one reference: of zeros, or with fill, of whatever is there. The caller fills it.
func (m *Machine) allocFor(fill bool) (x86.PFN, error) {
	if !fill {
		return m.alloc(0)
	}
	pfn, err := m.ram.AllocStale()
	if err != nil {
		return 0, ErrNoMem
	}
	m.pages[pfn] = m.newPage(0)
	return pfn, nil
}

// newPage is the first page of a folio that was just allocated.
func (m *Machine) newPage(order uint8) page { return page{ref: 1, order: order, node: uint8(m.node)} }

// hugeOrder is HPAGE_PMD_ORDER.
const hugeOrder = 9

func (m *Machine) allocFrames(order uint8) (x86.PFN, error) {
	switch order {
	case 0:
		return m.ram.Alloc(physmem.UsePage)
	case hugeOrder:
		return m.ram.AllocHuge()
	}
	// The arena has no other sizes: take part of a huge page, and give the rest back.
	pfn, err := m.ram.AllocHuge()
	if err != nil {
		return 0, err
	}
	for i := x86.PFN(1) << order; i < 1<<hugeOrder; i++ {
		if err := m.ram.Free(pfn + i); err != nil {
			return 0, err
		}
	}
	return pfn, nil
}

// get takes a reference to the folio of pfn. Linux: include/linux/mm.h:folio_get()
func (m *Machine) get(pfn x86.PFN) { m.folio(pfn).ref++ }

// put gives a reference to the folio of pfn back, and frees it if that was the last. Linux: folio_put()
func (m *Machine) put(pfn x86.PFN) { m.putN(pfn, 1) }

func (m *Machine) putN(pfn x86.PFN, n int32) {
	head := m.head(pfn)
	f := &m.pages[head]
	if f.flags&pgReserved != 0 {
		return
	}
	if f.ref -= n; f.ref > 0 {
		return
	}
	if f.ref < 0 || f.flags&pgSwapCache != 0 || f.file != nil {
		panic(fmt.Sprintf("mm: folio %#x: %d references, flags %#x", uint64(head), f.ref, f.flags))
	}
	m.free(head)
}

// free gives back the frames of the folio at head.
func (m *Machine) free(head x86.PFN) {
	n := 1 << m.pages[head].order
	if n > 1 {
		m.large--
	}
	if m.pages[head].ksm != nil {
		m.dropKSM(head)
	}
	m.freeRun(run{head, n})
}

// exclusive is PageAnonExclusive().
func (m *Machine) exclusive(pfn x86.PFN) bool { return m.excl[pfn/64]>>(pfn%64)&1 != 0 }

func (m *Machine) setExclusive(pfn x86.PFN, on bool) {
	if on {
		m.excl[pfn/64] |= 1 << (pfn % 64)
	} else {
		m.excl[pfn/64] &^= 1 << (pfn % 64)
	}
}

// clearExclusive ends that n pages from pfn on are exclusive.
func (m *Machine) clearExclusive(pfn x86.PFN, n int) {
	for end := pfn + x86.PFN(n); pfn < end; {
		k := min(end-pfn, 64-pfn%64)
		m.excl[pfn/64] &^= ^uint64(0) >> (64 - k) << (pfn % 64)
		pfn += k
	}
}

// anonPage is PageAnon().
func (m *Machine) anonPage(pfn x86.PFN) bool { return m.folio(pfn).flags&pgAnon != 0 }

// maybePinned is folio_maybe_dma_pinned().
func (m *Machine) maybePinned(pfn x86.PFN) bool {
	f := m.folio(pfn)
	if f.order > 0 {
		return f.pins > 0
	}
	return f.ref >= pinBias
}

// mapcount returns how many entries map the folio of pfn, PMDs counted once. Linux: include/linux/mm.h:folio_mapcount()
func (m *Machine) mapcount(pfn x86.PFN) int {
	head := m.head(pfn)
	n := m.pages[head].whole
	for i := range x86.PFN(1) << m.pages[head].order {
		n += m.pages[head+i].mapped
	}
	return int(n)
}

// content returns the bytes of frame pfn.
func (m *Machine) content(pfn x86.PFN) *physmem.Frame { return m.ram.Frame(pfn) }
