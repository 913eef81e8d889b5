package ptescan

import (
	"iter"
	"math/bits"

	"ptemu/arch/x86"
)

// Table is a page table: 512 entries in the host's byte order.
type Table = [x86.EntriesPerTable]uint64

// Bitmap has one bit for each entry of a table.
type Bitmap [x86.EntriesPerTable / 64]uint64

// Has reports whether bit i is set.
func (b *Bitmap) Has(i int) bool { return b[i>>6]>>(i&63)&1 != 0 }

// Set sets bit i.
func (b *Bitmap) Set(i int) { b[i>>6] |= 1 << (i & 63) }

// Empty reports whether no bit is set.
func (b *Bitmap) Empty() bool {
	return b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] == 0
}

// Len returns the number of bits set.
func (b *Bitmap) Len() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// Next returns the number of the first bit set from i on, or 512.
func (b *Bitmap) Next(i int) int {
	for w := i >> 6; w < len(b); w++ {
		if rest := b[w] >> (i & 63) << (i & 63); rest != 0 {
			return w<<6 + bits.TrailingZeros64(rest)
		}
		i = 0
	}
	return x86.EntriesPerTable
}

// All yields the numbers of the bits set, ascending.
func (b *Bitmap) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range b {
			for ; w != 0; w &= w - 1 {
				if !yield(i<<6 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}
