package pgtable

import (
	"math/bits"
	"sync"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/physmem"
)

// What follows is what operations ask of a table in one go, for slots first to last. The table is locked.

const wordBits = 64

// having sets b to the entries that have a bit of mask.
func having(t *physmem.Table, first, last int, mask uint64, b *Bitmap) {
	*b = Bitmap{}
	if last-first < wordBits/4 {
		for i := first; i <= last; i++ {
			v := t[i] & mask
			b[i/wordBits] |= (v | -v) >> (wordBits - 1) << (i % wordBits)
		}
		return
	}
	for w := first / wordBits; w <= last/wordBits; w++ {
		b[w] = groupHaving((*[wordBits]uint64)(t[w*wordBits:]), mask)
	}
	b[first/wordBits] &= ^uint64(0) << (first % wordBits)
	b[last/wordBits] &= ^uint64(0) >> (wordBits - 1 - last%wordBits)
}

// groupHaving is having for 64 entries. Often all or none of them have the same bits.
func groupHaving(g *[wordBits]uint64, mask uint64) uint64 {
	any0, any1, all0, all1 := uint64(0), uint64(0), ^uint64(0), ^uint64(0)
	for i := 0; i < wordBits; i += 2 {
		any0 |= g[i]
		all0 &= g[i]
		any1 |= g[i+1]
		all1 &= g[i+1]
	}
	switch {
	case (any0|any1)&mask == 0:
		return 0
	case all0&all1&mask != 0:
		return ^uint64(0)
	}
	word := uint64(0)
	for i := wordBits - 1; i >= 0; i-- {
		v := g[i] & mask
		word = word<<1 | (v|-v)>>(wordBits-1)
	}
	return word
}

// pagesIn sets b to the pages (pte_present).
func pagesIn(t *physmem.Table, first, last int, b *Bitmap) {
	having(t, first, last, x86.PagePresent|x86.PageProtnone, b)
}

// pagesHaving sets b to the pages that have a bit of mask; tmp is overwritten.
func pagesHaving(t *physmem.Table, first, last int, mask uint64, b, tmp *Bitmap) {
	pagesIn(t, first, last, b)
	having(t, first, last, mask, tmp)
	for w := range b {
		b[w] &= tmp[w]
	}
}

// othersIn sets b to the entries that are neither pages nor none.
func othersIn(t *physmem.Table, first, last int, pages, b *Bitmap) {
	having(t, first, last, ^uint64(x86.PageKnlErratumMask), b)
	for w := range b {
		b[w] &^= pages[w]
	}
}

// enclose returns the first and the last bit set; first > last if there is none.
func enclose(b *Bitmap) (first, last int) {
	first, last = x86.EntriesPerTable, -1
	for w, word := range b {
		if word != 0 {
			first = min(first, w*wordBits+bits.TrailingZeros64(word))
			last = w*wordBits + bits.Len64(word) - 1
		}
	}
	return first, last
}

// scratch is what an operation needs for one table. Callers of the package see parts of it, so it cannot live on the
// stack.
type scratch struct {
	pages, other, tmp Bitmap
	zapped            ptescan.Zapped
	harvested         ptescan.Harvested
	copied            ptescan.Copied
	old               physmem.Table
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}
