package who

import (
	"cmp"
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"ptemu/arch/x86"
)

// extentChunk is how many extents are allocated at a time.
const extentChunk = 1 << 15

// extentPile collects the extents of all parts, in pieces that keep the order of each part.
type extentPile struct {
	window interval     // frames outside of it are left out
	room   atomic.Int64 // extents that may still be added, in chunks

	mu     sync.Mutex
	pieces []extentPiece
	free   [][]extent // rests of chunks
}

type extentPiece struct {
	part, n int // n counts the pieces of a part
	all     []extent
}

// errTooMany ends a collection that has no room left.
var errTooMany = errors.New("too many mappings at a time")

// take returns room for some extents, empty.
func (p *extentPile) take() ([]extent, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		rest := p.free[n-1]
		p.free = p.free[:n-1]
		return rest, nil
	}
	if p.room.Add(-extentChunk) < 0 {
		return nil, errTooMany
	}
	return make([]extent, 0, extentChunk), nil
}

// put takes what was collected, and keeps the rest of the room for others.
func (p *extentPile) put(part, n int, all []extent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(all) > 0 {
		p.pieces = append(p.pieces, extentPiece{part, n, all})
	}
	if rest := all[len(all):]; cap(rest) > 0 {
		p.free = append(p.free, rest)
	}
}

// sorted returns all extents by their first frame; of equal ones, those of the first part, in the order of its
// addresses. The pile is empty then.
//
// It is a radix sort, whose first round reads the pieces.
func (p *extentPile) sorted() []extent {
	slices.SortFunc(p.pieces, func(a, b extentPiece) int { return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.n, b.n)) })
	total, largest := 0, x86.PFN(0)
	for _, piece := range p.pieces {
		total += len(piece.all)
		for i := range piece.all {
			largest = max(largest, piece.all[i].first)
		}
	}
	out := make([]extent, 0, total)
	pieces := p.pieces
	p.pieces, p.free = nil, nil
	if total == 0 {
		return nil
	}
	out = out[:total]
	radixRound(pieces, out, 0)
	if pieces = nil; total > maxExtents/8 {
		debug.FreeOSMemory() // the next round would come on top of them
	}
	var spare []extent
	for shift := uint(radixBits); largest>>shift != 0; shift += radixBits {
		if spare == nil {
			spare = make([]extent, total)
		}
		radixRound([]extentPiece{{all: out}}, spare, shift)
		out, spare = spare, out
	}
	return out
}

const radixBits = 11

// radixRound moves the extents into out, stably by some bits of the first frame.
func radixRound(pieces []extentPiece, out []extent, shift uint) {
	var at [1 << radixBits]int
	digit := func(e *extent) int { return int(e.first>>shift) & (len(at) - 1) }
	for _, piece := range pieces {
		for i := range piece.all {
			at[digit(&piece.all[i])]++
		}
	}
	sum := 0
	for i, n := range at {
		at[i] = sum
		sum += n
	}
	for _, piece := range pieces {
		for i := range piece.all {
			d := digit(&piece.all[i])
			out[at[d]] = piece.all[i]
			at[d]++
		}
	}
}
