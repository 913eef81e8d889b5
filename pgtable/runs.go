package pgtable

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/physmem"
)

// Runs goes over pages of a table by runs: pages in consecutive slots, at consecutive frames, that are alike in P,
// PROTNONE and SPECIAL.
type Runs struct {
	pages, ends Bitmap
	next        int
}

// NewRuns returns the runs of the pages of t. Slots outside pages are not looked at.
func NewRuns(a *x86.ABI, t *physmem.Table, pages *Bitmap) Runs {
	r := Runs{pages: *pages}
	const alike = x86.PagePresent | x86.PageProtnone | x86.PageSpecial
	p := a.Runs(^uint64(alike), true)
	ptescan.Breaks(&p, (*ptescan.Table)(t), 0, &r.ends)
	for w := range r.ends {
		r.ends[w] |= ^pages[w]
	}
	return r
}

// Next returns the first slot of the next run, and the number of its pages; 0 when there is none.
func (r *Runs) Next() (first, n int) {
	first = r.pages.Next(r.next)
	if first == x86.EntriesPerTable {
		return first, 0
	}
	r.next = r.ends.Next(first + 1)
	return first, r.next - first
}
