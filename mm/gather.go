package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// gather is a [pgtable.Gather] of an operation of one CPU, and the folios whose references are given back once
// processors have been told.
//
// Linux: include/asm-generic/tlb.h:struct mmu_gather
type gather struct {
	pgtable.Gather
	c    *CPU
	puts []run
}

func (c *CPU) gather(s *Space) *gather {
	g := &gather{c: c}
	g.Start(s.tree, c.m)
	return g
}

// putLater gives a reference to the folio of pfn back after the flush.
//
// Linux: mm/mmu_gather.c:__tlb_remove_folio_pages()
func (g *gather) putLater(pfn x86.PFN) {
	if last := len(g.puts) - 1; last >= 0 && g.puts[last].first+x86.PFN(g.puts[last].n) == pfn {
		g.puts[last].n++
		return
	}
	g.puts = append(g.puts, run{pfn, 1})
}

// finish flushes, and gives references back. An operation may be stopped before it.
func (g *gather) finish() {
	f, owed := g.Owed()
	if owed {
		g.c.m.event(Event{Kind: EventOwed, CPU: g.c.id, Tree: g.Tree(), Flush: f})
	}
	if owed || g.Nested() {
		g.c.point(PointFlush)
	}
	if err := g.Finish(); err != nil {
		panic("mm: " + err.Error()) // a frame freed twice
	}
	for _, r := range g.puts {
		g.c.m.putUnmappedRun(r)
	}
}

// flushPage tells processors at once. Linux: arch/x86/mm/tlb.c:flush_tlb_page()
func (s *Space) flushPage(va x86.Virt) {
	va = pageOf(va)
	s.m.FlushTLB(s.tree, pgtable.Flush{Range: pgtable.Range{First: va, Last: va + x86.PageSize - 1}, Levels: 1 << x86.LevelPTE})
}

func pageOf(va x86.Virt) x86.Virt { return va &^ (x86.PageSize - 1) }
