package mm

import (
	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// Pagemap returns the words of /proc/pid/pagemap for n pages from va on, as the administrator reads them.
//
// Linux: fs/proc/task_mmu.c:pagemap_read()
func (s *Space) Pagemap(va x86.Virt, n int) []swapentry.Pagemap {
	s.readLock()
	defer s.readUnlock()
	words := make([]swapentry.Pagemap, n)
	for i := range words {
		words[i] = s.pagemapWord(pageOf(va) + x86.Virt(i)*x86.PageSize)
	}
	return words
}

func (s *Space) pagemapWord(va x86.Virt) swapentry.Pagemap {
	v := s.VMA(va)
	if v == nil {
		return 0
	}
	m := s.m
	f := swapentry.PageFacts{VMASoftDirty: v.flags&VMSoftDirty != 0}
	if e, huge := s.hugePMD(va); huge {
		page := uint64(va.Index(x86.LevelPTE))
		judged := uint64(0)
		if m.Policy.PagemapEachOfHuge {
			judged = page
		}
		m.pageFacts(&f, m.behindPMD(e), judged)
		return m.layout.Pagemap(x86.LevelPMD, uint64(e), page, f)
	}
	e := s.pte(va)
	m.pageFacts(&f, m.behindPTE(e), 0)
	return m.layout.Pagemap(x86.LevelPTE, uint64(e), 0, f)
}

// behindPTE returns the page that e maps or stands for, 0 for none.
func (m *Machine) behindPTE(e x86.PTE) x86.PFN {
	if e.Present() {
		pfn, _ := m.normal(e)
		return pfn
	}
	d := m.layout.Decode(x86.LevelPTE, uint64(e))
	return d.PFN
}

// behindPMD is behindPTE for a huge entry. The huge zero page counts.
func (m *Machine) behindPMD(e x86.PMD) x86.PFN {
	if e.Present() {
		return e.PFN(m.abi)
	}
	d := m.layout.Decode(x86.LevelPMD, uint64(e))
	return d.PFN
}

// pageFacts adds what is known of page n of what begins at pfn.
func (m *Machine) pageFacts(f *swapentry.PageFacts, pfn x86.PFN, n uint64) {
	if pfn == 0 || uint64(pfn)+n >= uint64(len(m.pages)) {
		return
	}
	f.File = !m.anonPage(pfn)
	f.Exclusive = m.pages[pfn+x86.PFN(n)].mapped+m.folio(pfn).whole == 1
}
