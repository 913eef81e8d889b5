package mmu

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
)

// Mark says that a translation sets bits in an entry. Set holds A, D or both, and only what Entry lacks.
type Mark struct {
	Step
	Set uint64
}

// ErrStale is what a [Setter] returns, wrapped or not, if the entry is no longer what the walk read.
var ErrStale = errors.New("entry changed since the walk")

// Setter writes A and D into tables. Memory that processors share implements it under the lock of the table that
// holds the entry, or with a compare-and-swap, so that no other change of the entry is lost.
type Setter interface {
	// SetBits sets bits in the entry at place if that still is old; if not, it writes nothing and returns
	// ErrStale.
	SetBits(place x86.Phys, old, bits uint64) error
}

// Marks appends to dst the marks that access a leaves, root first, and returns it. The package comment says
// which these are. An entry that serves at two levels (a table that points to itself) has one mark.
//
// Intel SDM, "Accessed and Dirty Flags"
func (w *Walk) Marks(a Access, dst []Mark) []Mark {
	if w.Outcome == Unreadable || w.n == 0 {
		return dst
	}
	first := len(dst)
	for _, s := range w.steps[:w.n-1] {
		dst = appendMark(dst, first, s, x86.PageAccessed)
	}
	if w.Refusal(a) == 0 {
		set := uint64(x86.PageAccessed)
		if a.Kind.writes() {
			set |= x86.PageDirty
		}
		dst = appendMark(dst, first, w.Last(), set)
	}
	return dst
}

func appendMark(dst []Mark, first int, s Step, set uint64) []Mark {
	set &^= s.Entry
	if set == 0 {
		return dst
	}
	for i := range dst[first:] {
		if m := &dst[first+i]; m.Place == s.Place {
			m.Set |= set
			return dst
		}
	}
	return append(dst, Mark{Step: s, Set: set})
}

// Commit has s make the marks of access a, root first, and stops at the first error. On ErrStale the tables have
// changed since the walk: the caller must walk and translate again, as a processor does. Marks made before the
// error stay; they were due anyway.
func (w *Walk) Commit(a Access, s Setter) error {
	var buf [x86.LevelPGD]Mark
	for _, m := range w.Marks(a, buf[:0]) {
		if err := s.SetBits(m.Place, m.Entry, m.Set); err != nil {
			return fmt.Errorf("mmu: %v entry at %v: set %#x: %w", m.Level, m.Place, m.Set, err)
		}
	}
	return nil
}
