package physmem

import (
	"math/bits"
	"sync/atomic"

	"ptemu/arch/x86"
)

// FreeRun gives n frames of content from pfn on back, as [RAM.Free] does for one after the other. The error is
// ErrNotAllocated if any of them is not in use as content, and nothing has happened then.
func (r *RAM) FreeRun(pfn x86.PFN, n uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, frames := uint64(pfn-r.base), uint64(len(r.frames))
	if first >= frames || n > frames-first {
		return notAllocated(pfn)
	}
	for i := first; i < first+n; {
		mask, next := maskFrom(i, first+n)
		w := i / wordBits
		if lost := mask &^ (atomic.LoadUint64(&r.inUse[w]) &^ atomic.LoadUint64(&r.tables[w])); lost != 0 {
			return notAllocated(r.base + x86.PFN(w*wordBits) + x86.PFN(bits.TrailingZeros64(lost)))
		}
		i = next
	}
	for i := first; i < first+n; {
		end := min(first+n, i/BlockFrames*BlockFrames+BlockFrames)
		for j := i; j < end; {
			mask, next := maskFrom(j, end)
			atomic.AndUint64(&r.inUse[j/wordBits], ^mask)
			j = next
		}
		r.giveBack(i, end-i, UsePage)
		i = end
	}
	return nil
}

// maskFrom returns the bits from i on in its word of a bitmap, up to end, and the first bit behind them.
func maskFrom(i, end uint64) (mask, next uint64) {
	next = min(end, i/wordBits*wordBits+wordBits)
	return ^uint64(0) >> (wordBits - (next - i)) << (i % wordBits), next
}
