package tree

import (
	"slices"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// Memo keeps what shared tables gave, so that a table is decoded once however many entries lead to it. T is a
// piece of the result: a range, a line.
//
// A table is recorded while it is visited for the second time and used from the third on: most tables of a machine
// have one entry leading to them, and cost nothing here. Only small results are kept, and not too many.
//
// A table that gave nothing may be passed over any number of times. What the others gave is handed over again up to a
// bound of memoReplays pieces; then they are visited, and the walk's own bound ends that.
type Memo[T any] struct {
	Join func(last, next *T) bool // makes next a part of last, if they are one piece
	Move func(*T, x86.Virt)       // moves a piece up in the address space (or down: addresses wrap)
	Off  bool                     // visit everything, for tests and for filters that depend on the address

	replayed int // pieces handed over again
	known    map[TableKey]Kept[T]
	pieces   int // in known
	open     int // recordings that are going on
	records  [x86.LevelPGD + 1]recording[T]
}

// TableKey is all that the pieces of a table depend on, besides where in its half of the address space it is.
type TableKey struct {
	pfn    x86.PFN
	level  x86.Level
	access pgtable.Access
	upper  bool // the kernel half
}

// Kept is the result of a table, as it was at address base.
type Kept[T any] struct {
	base   x86.Virt
	pieces []T
}

type recording[T any] struct {
	on     bool
	pieces []T
}

const (
	memoPieces  = 512     // that one table may have
	memoTotal   = 1 << 14 // in all
	memoReplays = 1 << 18 // handed over again; the espfix areas of 64 CPUs are 65536 pieces
)

// KeyOf returns the key of a table that is being walked.
func KeyOf(t *pgtable.Table) TableKey { return TableKey{t.PFN, t.Level, t.Access, t.VA>>63 != 0} }

// Enter is told of each table before it is visited, and returns what is known of it. If that is nothing, and
// usable, what follows until leave is recorded. Pieces of a table that is not usable depend on more than its key.
func (m *Memo[T]) Enter(t *pgtable.Table, usable bool) (Kept[T], bool) {
	if m.Off || !usable || !t.Whole() || !t.Repeat {
		return Kept[T]{}, false
	}
	if k, ok := m.known[KeyOf(t)]; ok {
		if m.replayed += len(k.pieces); len(k.pieces) == 0 || m.replayed <= memoReplays {
			return k, true
		}
		return Kept[T]{}, false
	}
	r := &m.records[t.Level]
	r.on, r.pieces = true, r.pieces[:0]
	m.open++
	return Kept[T]{}, false
}

// Recording reports whether the pieces that are added are kept for a table.
func (m *Memo[T]) Recording() bool { return m.open > 0 }

// Leave is told when a table has been visited, and keeps what was recorded.
func (m *Memo[T]) Leave(t *pgtable.Table) {
	r := &m.records[t.Level]
	if !r.on {
		return
	}
	m.stop(r)
	if m.pieces+len(r.pieces) > memoTotal || m.known == nil {
		m.known, m.pieces = map[TableKey]Kept[T]{}, 0
	}
	m.pieces += len(r.pieces) + 1
	m.known[KeyOf(t)] = Kept[T]{t.VA, slices.Clone(r.pieces)}
}

// Add is told of each piece, in the order of addresses.
func (m *Memo[T]) Add(p *T) {
	if m.open == 0 {
		return
	}
	for l := range m.records {
		r := &m.records[l]
		n := len(r.pieces)
		switch {
		case !r.on || n > 0 && m.Join(&r.pieces[n-1], p):
		case n == memoPieces:
			m.stop(r)
		default:
			r.pieces = append(r.pieces, *p)
		}
	}
}

// Spoil forgets what is being recorded: it has a part that is not a piece.
func (m *Memo[T]) Spoil() {
	if m.open == 0 {
		return
	}
	for l := range m.records {
		if m.records[l].on {
			m.stop(&m.records[l])
		}
	}
}

func (m *Memo[T]) stop(r *recording[T]) {
	r.on = false
	m.open--
}

// Replay hands the kept pieces of a table over, moved to its present address.
func (m *Memo[T]) Replay(t *pgtable.Table, k Kept[T], use func(*T) error) error {
	var p T
	for i := range k.pieces {
		p = k.pieces[i]
		m.Move(&p, t.VA-k.base)
		if err := use(&p); err != nil {
			return err
		}
	}
	return nil
}
