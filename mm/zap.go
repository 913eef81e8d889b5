package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// zapFlags say how a zap differs from MADV_DONTNEED.
type zapFlags uint8

const (
	// zapDropMarkers: markers go too, and none is left (munmap, exit, truncation of a page).
	zapDropMarkers zapFlags = 1 << iota
	// zapFileOnly: pages that a private file mapping has copied stay (truncation, hole punch).
	zapFileOnly
	// zapFreesTables: PTE tables of which nothing is left are given back, where the kernel does that (MADV_DONTNEED).
	zapFreesTables
)

// zap unmaps part r of v, and takes back what its entries counted.
//
// Linux: mm/memory.c:zap_page_range_single(), unmap_page_range()
func (s *Space) zap(g *gather, v *VMA, r pgtable.Range, flags zapFlags) error {
	m := s.m
	z := pgtable.Zap{
		Present: func(c pgtable.PTECursor, pages *pgtable.Bitmap, old *physmem.Table) {
			m.eachRun(old, pages, func(slot int, r run) { m.zappedRun(g, old, slot, r) })
		},
		Other: func(va x86.Virt, e x86.PTE) x86.PTE { return m.zapOther(v, e, flags) },
		Huge:  v.huge().Zapper(&g.Gather, func(va x86.Virt, old x86.PMD) { m.zappedPMD(g, v, old) }),

		FreeTables: flags&zapFreesTables != 0 && m.Policy.ZapFreesTables,
	}
	if !v.Anonymous() && v.flags&VMUffdWP != 0 && flags&zapDropMarkers == 0 {
		z.Marker = m.layout.MakePTEMarker(swapentry.MarkerUffdWP)
	}
	if flags&zapFileOnly != 0 {
		return s.zapFilePages(g, v, r, &z)
	}
	s.flushBatched()
	return s.tree.Zap(&g.Gather, r, &z)
}

// zapped takes back what the PTE e counted, which is gone.
//
// Linux: mm/memory.c:zap_present_folio_ptes()
func (m *Machine) zapped(g *gather, e x86.PTE) {
	pfn, ok := m.normal(e)
	if !ok {
		return
	}
	f := m.folio(pfn)
	if f.flags&pgAnon == 0 {
		if e.Dirty(m.abi) {
			f.flags |= pgDirty
		}
		if e.Young() {
			f.flags |= pgReferenced
		}
	}
	m.removeMapping(pfn)
	g.putLater(pfn)
}

// zapOther says what stays of an entry that is not a page.
//
// Linux: mm/memory.c:zap_nonpresent_ptes()
func (m *Machine) zapOther(v *VMA, e x86.PTE, flags zapFlags) x86.PTE {
	l := m.layout
	d := l.Decode(x86.LevelPTE, uint64(e))
	drop := flags&zapDropMarkers != 0
	cows := flags&zapFileOnly == 0
	switch d.Kind {
	case swapentry.KindMarker:
		switch {
		case d.Marker&swapentry.MarkerUffdWP != 0:
			if drop || v.Anonymous() && !m.Policy.ZapKeepsMarker {
				return 0
			}
			return e
		case d.Marker&swapentry.MarkerGuard != 0:
			if drop {
				return 0
			}
			return e
		}
		if !cows {
			return e
		}
		return 0
	case swapentry.KindSwap:
		if !cows {
			return e
		}
		m.swap.put(e, l)
	case swapentry.KindMigration, swapentry.KindDevicePrivate, swapentry.KindDeviceExclusive:
		if !cows && m.anonPage(d.PFN) {
			return e
		}
		m.zappedEntry(d)
	case swapentry.KindHWPoison, swapentry.KindSwapinError:
		if !cows {
			return e
		}
		return 0
	}
	if !v.Anonymous() && l.PTESwpUffdWPAny(e) && v.flags&VMUffdWP != 0 && !drop {
		return l.MakePTEMarker(swapentry.MarkerUffdWP)
	}
	return 0
}

// zappedEntry takes back what an entry without a page, that stands for one, counted.
func (m *Machine) zappedEntry(d swapentry.Entry) {
	if d.Kind == swapentry.KindMigration {
		return // the migration holds the page
	}
	if d.Kind == swapentry.KindDevicePrivate || m.Policy.DeviceKeepsMapping {
		m.removeMapping(d.PFN)
	}
	m.put(d.PFN)
}
