package pgtable

import "ptemu/arch/x86"

// HugeFrame takes the 512 frames of content from pfn on, which are freed after the flush.
//
// Linux: include/asm-generic/tlb.h:tlb_remove_page_size()
func (g *Gather) HugeFrame(pfn x86.PFN) { g.huge = append(g.huge, pfn) }

// freeHuge frees the huge pages that waited for the flush, and returns the first error.
func (g *Gather) freeHuge() (first error) {
	for _, pfn := range g.huge {
		if err := g.t.ram.FreeHuge(pfn); err != nil && first == nil {
			first = err
		}
	}
	g.huge = g.huge[:0]
	return first
}
