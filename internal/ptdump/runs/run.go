package runs

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
)

// Run is a range of neighbouring entries of equal meaning: same level, kind, rights and flags, where ACCESSED and the
// dirty state only count; for entries without a page, same type and flags and, of a marker, same bits; all
// Invalid or none. A run lies in one region.
type Run struct {
	// First is the entry at the lowest address.
	First tree.Leaf
	// Count is the number of entries.
	Count uint64
	// Accessed and Dirty count the entries with A, and with D or SAVED_DIRTY; of migration entries, those that
	// keep the page's A and D.
	Accessed, Dirty uint64
	// Scattered says that the frames that the entries name do not all follow one another in ascending order; of
	// swap entries, the slots.
	Scattered bool
	// Moves says that not all of them are the same.
	Moves bool
}

// Repeated reports several entries that all name the same frame, or slot.
func (r *Run) Repeated() bool { return r.Count > 1 && r.Scattered && !r.Moves }

// shared is the first entry with what counts only if all have it: A and D of migration entries.
func (r *Run) shared() *tree.Leaf {
	l := r.First
	l.Swap.Young, l.Swap.Dirty = r.Accessed == r.Count, r.Dirty == r.Count
	return &l
}

// Size returns the bytes of address space.
func (r *Run) Size() uint64 { return r.Count * r.First.Level.Size() }

// End returns the first address behind the run, which is 0 behind the top of the address space.
func (r *Run) End() x86.Virt { return r.First.VA + x86.Virt(r.Size()) }

// Places returns the frame, or the swap slot, of the first entry and of the last base page of the last one. False if
// the entries name none. In between lie all others, unless the run is Scattered: then last makes no sense.
func (r *Run) Places() (first, last uint64, ok bool) {
	first, step, ok := place(&r.First)
	if !ok {
		return 0, 0, false
	}
	return first, first + r.Count*step - 1, true
}

// place returns what moves on from one entry of a run to the next, and by how much.
func place(l *tree.Leaf) (at, step uint64, ok bool) {
	switch {
	case l.HasPFN:
		return uint64(l.PFN), l.Level.Size() / x86.PageSize, true
	case l.Kind == tree.KindSwap:
		return l.Swap.Offset, 1, true
	}
	return 0, 0, false
}

func (r *Run) move(by x86.Virt) { r.First.VA += by }

// count adds n entries that have the bits A and D of e.
func (r *Run) count(e, n, dirtyBits uint64) {
	r.Count += n
	if e&x86.PageAccessed != 0 {
		r.Accessed += n
	}
	if e&dirtyBits != 0 {
		r.Dirty += n
	}
}
