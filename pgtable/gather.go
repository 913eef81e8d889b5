package pgtable

import (
	"fmt"

	"ptemu/arch/x86"
)

// Flush is what processors must forget: translations in Range that came from entries of the levels named (bit
// 1<<level), and with FreedTables also what they cached of the tables above. All means everything of the tree.
type Flush struct {
	Range
	Levels      uint8
	FreedTables bool
	All         bool
}

// Flusher tells the processors. When it returns, none of them uses what f covers any more, nor is one still walking
// a table that was freed.
type Flusher interface {
	FlushTLB(t *Tree, f Flush)
}

// Gather collects what an operation owes to the processors, and the tables and frames that may not be used again
// before it is paid. From Start to Finish the tree has a flush pending. A Gather may be used again after Finish, and
// then allocates nothing. It is for one goroutine. Builds with the tag invariants or the race detector panic when the
// garbage collector finds one that owes a flush.
//
// Linux: include/asm-generic/tlb.h:struct mmu_gather
type Gather struct {
	t       *Tree
	flusher Flusher
	debt    Flush
	tables  []x86.PFN
	frames  []x86.PFN
	huge    []x86.PFN // first frames of huge pages
	watch   watch
	slot    uint8 // in Tree.flush
	work    changing
}

// noDebt is an empty range, ready to grow.
var noDebt = Flush{Range: Range{First: ^x86.Virt(0)}}

// Start begins to gather for t. With f nil, nobody caches anything. It panics if the last use was not finished.
//
// Linux: mm/mmu_gather.c:tlb_gather_mmu()
func (g *Gather) Start(t *Tree, f Flusher) {
	if g.t != nil {
		panic("pgtable: Gather started twice")
	}
	g.t, g.flusher, g.debt = t, f, noDebt
	g.slot = t.flush.begin(g.slot)
	g.watch.start()
}

// Tree returns the tree that is gathered for, nil before Start and after Finish.
func (g *Gather) Tree() *Tree { return g.t }

// PTEs owes a flush of the pages in slots first to last of c's table.
//
// Linux: include/asm-generic/tlb.h:tlb_flush_pte_range()
func (g *Gather) PTEs(c PTECursor, first, last int) {
	g.Range(Range{c.Addr(first), c.Addr(last) + x86.PageSize - 1}, x86.LevelPTE)
}

// Range owes a flush of r, whose entries were of level l.
//
// Linux: include/asm-generic/tlb.h:tlb_flush_pte_range(), tlb_flush_pmd_range(), tlb_flush_pud_range()
func (g *Gather) Range(r Range, l x86.Level) {
	g.debt.First = min(g.debt.First, r.First)
	g.debt.Last = max(g.debt.Last, r.Last)
	g.debt.Levels |= 1 << l
	g.watch.owe(true)
}

// Everything owes a flush of the whole tree, as where Linux calls flush_tlb_mm().
func (g *Gather) Everything() {
	g.debt.All = true
	g.watch.owe(true)
}

// Table takes a table that hangs nowhere any more, whose first address was va; it is freed after the flush.
//
// Linux: include/asm-generic/tlb.h:pte_free_tlb(), pmd_free_tlb(), pud_free_tlb(), p4d_free_tlb()
func (g *Gather) Table(pfn x86.PFN, va x86.Virt) {
	s := g.t.state(pfn)
	if s.kind != kindLoose {
		panic(fmt.Sprintf("pgtable: frame %#x is to be freed in state %d", uint64(pfn), s.kind))
	}
	s.kind = kindGathered
	g.Range(Range{va, va + x86.PageSize - 1}, s.level+1)
	g.debt.FreedTables = true
	g.tables = append(g.tables, pfn)
}

// Frame takes a frame of content, which is freed after the flush.
//
// Linux: include/asm-generic/tlb.h:tlb_remove_page()
func (g *Gather) Frame(pfn x86.PFN) { g.frames = append(g.frames, pfn) }

// Owed returns what Pay would flush, and whether it would flush anything.
func (g *Gather) Owed() (Flush, bool) {
	return g.debt, g.debt.All || g.debt.FreedTables || g.debt.Levels != 0
}

// Pay flushes what is owed now, then frees what waited for it. The gather goes on. The error is that of a frame that
// cannot be freed.
//
// Linux: mm/mmu_gather.c:tlb_flush_mmu()
func (g *Gather) Pay() error {
	if _, owed := g.Owed(); owed {
		if g.flusher != nil {
			g.flusher.FlushTLB(g.t, g.debt)
		}
		g.debt = noDebt
		g.watch.owe(false)
	}
	if len(g.tables)+len(g.frames)+len(g.huge) == 0 {
		return nil
	}
	return g.free()
}

// free frees what waited for the flush.
func (g *Gather) free() error {
	for _, pfn := range g.tables {
		g.t.freeTable(pfn)
	}
	first := g.freeHuge()
	for _, pfn := range g.frames {
		if err := g.t.ram.Free(pfn); err != nil && first == nil {
			first = err
		}
	}
	g.tables, g.frames = g.tables[:0], g.frames[:0]
	return first
}

// Nested reports that another gather is under way in the tree, so that Finish would flush everything.
//
// Linux: include/linux/mm_types.h:mm_tlb_flush_nested()
func (g *Gather) Nested() bool { return g.t.flush.count() > 1 }

// Finish pays and ends the gather. If another gather was under way in the tree, everything is flushed: that one may
// have changed entries that this one then saw, and passed over, as changed already.
//
// Linux: mm/mmu_gather.c:tlb_finish_mmu()
func (g *Gather) Finish() error {
	if g.Nested() {
		g.debt.All, g.debt.FreedTables = true, true
	}
	err := g.Pay()
	g.t.flush.end(g.slot)
	g.t = nil
	return err
}
