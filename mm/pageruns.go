package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// What follows counts pages by runs: pages at consecutive frames. Each does for a run what the function of a similar name
// does for a page, with less to be asked of ordinary ones.

// run is pages at consecutive frames.
type run struct {
	first x86.PFN
	n     int
}

// eachRun calls f for the runs among the pages of table t, with the slot of the first. Pages that [Machine.normal] would
// not return are not in them, except reserved ones.
func (m *Machine) eachRun(t *physmem.Table, pages *pgtable.Bitmap, f func(slot int, r run)) {
	runs, all := pgtable.NewRuns(m.abi, t, pages), uint64(len(m.pages))
	for slot, n := runs.Next(); n > 0; slot, n = runs.Next() {
		e := x86.PTE(t[slot])
		if pfn := e.PFN(m.abi); !e.Special() && uint64(pfn) < all {
			f(slot, run{pfn, int(min(uint64(n), all-uint64(pfn)))})
		}
	}
}

// single reports that the page is a folio of its own, and counted.
func (p *page) single() bool { return p.flags&(pgReserved|pgTail) == 0 && p.order == 0 }

// dupMappings counts another PTE for each page. None of them is exclusive any more.
func (m *Machine) dupMappings(r run) {
	m.clearExclusive(r.first, r.n)
	pages := m.pages[r.first:][:r.n]
	for i := range pages {
		p := &pages[i]
		switch {
		case p.flags&(pgReserved|pgTail) == 0:
			p.mapped++
			p.ref++
		case p.flags&pgReserved == 0:
			m.dupMapping(r.first + x86.PFN(i))
		}
	}
}

// zappedRun takes back what the PTEs of the pages counted, which are gone. The first was old[slot].
//
// Linux: mm/memory.c:zap_present_folio_ptes()
func (m *Machine) zappedRun(g *gather, old *physmem.Table, slot int, r run) {
	pages := m.pages[r.first:][:r.n]
	for i := range pages {
		if p := &pages[i]; p.single() && p.flags&pgAnon != 0 && p.mapped > 0 {
			p.mapped--
			g.putLater(r.first + x86.PFN(i))
		} else {
			m.zapped(g, x86.PTE(old[slot+i]))
		}
	}
}

// piece is how many pages are freed together at most: their state still is in the cache.
const piece = 256

// putUnmappedRun is [Machine.putUnmapped] for the pages.
func (m *Machine) putUnmappedRun(r run) {
	free := run{first: r.first}
	pages := m.pages[r.first:][:r.n]
	for i := range pages {
		if p := &pages[i]; p.single() && p.ref == 1 && p.flags&pgSwapCache == 0 && p.file == nil && p.ksm == nil {
			if free.n++; free.n < piece {
				continue
			}
			m.freeRun(free)
		} else {
			m.freeRun(free)
			m.putUnmapped(r.first + x86.PFN(i))
		}
		free = run{first: r.first + x86.PFN(i) + 1}
	}
	m.freeRun(free)
}

// freeRun gives back frames that nobody has any more.
func (m *Machine) freeRun(r run) {
	m.clearExclusive(r.first, r.n)
	back := run{first: r.first}
	pages := m.pages[r.first:][:r.n]
	for i := range pages {
		p := &pages[i]
		if p.mapped != 0 || p.whole != 0 {
			panic(fmt.Sprintf("mm: frame %#x freed while it is mapped", uint64(r.first)+uint64(i)))
		}
		poison := p.flags & pgPoison
		*p = page{}
		if poison == 0 {
			back.n++
			continue
		}
		p.flags = pgPoison | pgReserved // a failed frame is never used again
		m.giveBack(back)
		back = run{first: r.first + x86.PFN(i) + 1}
	}
	m.giveBack(back)
}

func (m *Machine) giveBack(r run) {
	if r.n == 0 {
		return
	}
	if err := m.ram.FreeRun(r.first, uint64(r.n)); err != nil {
		panic("mm: " + err.Error())
	}
}
