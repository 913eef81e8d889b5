package diff

import (
	"errors"
	"iter"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
)

// difference is what became of one address, or of Size bytes that changed alike.
type difference struct {
	VA      x86.Virt
	Size    uint64
	Changes change
	// Before and After are the first entries, their Kind "none" where there is nothing.
	Before, After tree.Leaf
	// Entries is how many there are, of whichever capture has more.
	Entries uint64
	// Problem says why one of the two cannot tell.
	Problem error
}

// treeDiff compares two trees.
type treeDiff struct {
	*differ
	before, after tree.Decoder
	filter        tree.Filter
	sink          func(*difference) error
	d             difference
	a, b, slice   tree.Leaf
}

// diffTrees hands every difference between two trees to sink, in address order. Neighbours are not merged.
func diffTrees(before, after *tree.Tree, f tree.Filter, ignore change, sink func(*difference) error) error {
	t := &treeDiff{differ: newDiffer(before.ABI, after.ABI, ignore), before: before.Decoder(), after: after.Decoder(), filter: f, sink: sink}
	nextA, stopA := iter.Pull2(pieces(before, f))
	defer stopA()
	nextB, stopB := iter.Pull2(pieces(after, f))
	defer stopB()
	return t.join(&side{next: nextA}, &side{next: nextB})
}

// side is a stream of pieces with the one that is next.
type side struct {
	next func() (*piece, error, bool)
	p    *piece // nil at the end
}

func (s *side) advance() error {
	p, err, ok := s.next()
	if !ok {
		p = nil
	}
	s.p = p
	return err
}

// join runs through both trees side by side.
func (t *treeDiff) join(a, b *side) error {
	if err := errors.Join(a.advance(), b.advance()); err != nil {
		return err
	}
	for a.p != nil || b.p != nil {
		var err error
		switch {
		case b.p == nil || a.p != nil && a.p.last() < b.p.va:
			err = errors.Join(t.alone(a.p, true), a.advance())
		case a.p == nil || b.p.last() < a.p.va:
			err = errors.Join(t.alone(b.p, false), b.advance())
		case a.p.entries != nil && b.p.entries != nil:
			err = errors.Join(t.tables(a.p, b.p), a.advance(), b.advance())
		case a.p.size == b.p.size && a.p.entries == nil && b.p.entries == nil:
			err = errors.Join(t.both(a.p, b.p), a.advance(), b.advance())
		case a.p.size >= b.p.size && a.p.entries == nil:
			err = t.covered(a, b, true)
		default:
			err = t.covered(b, a, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// alone is a piece where the other capture has nothing.
func (t *treeDiff) alone(p *piece, gone bool) error {
	if p.problem != nil {
		return t.problem(p)
	}
	if p.entries == nil {
		t.leafOf(&t.a, p, p.index, gone)
		return t.one(&t.a, nil, gone)
	}
	for i := p.table.First; i <= p.table.Last; i++ {
		if p.entries[i] == 0 {
			continue
		}
		t.leafOf(&t.a, p, i, gone)
		if err := t.one(&t.a, nil, gone); err != nil {
			return err
		}
	}
	return nil
}

// leafOf decodes an entry of a piece.
func (t *treeDiff) leafOf(l *tree.Leaf, p *piece, i int, before bool) {
	d := &t.after
	if before {
		d = &t.before
	}
	d.Leaf(l, &p.table, i)
}

// one hands over how x of one capture became y of the other; xIsBefore says which is which.
func (t *treeDiff) one(x, y *tree.Leaf, xIsBefore bool, more ...change) error {
	before, after := x, y
	if !xIsBefore {
		before, after = y, x
	}
	c := t.compare(before, after)
	for _, m := range more {
		c = c&^changeBits | m&^t.ignore // PSE and PAT are elsewhere in a large entry
	}
	if c == 0 {
		return nil
	}
	t.d = difference{VA: x.VA, Size: x.Level.Size(), Changes: c, Entries: 1, Before: tree.Leaf{Kind: tree.KindNone}, After: tree.Leaf{Kind: tree.KindNone}}
	if before != nil {
		t.d.Before = *before
	}
	if after != nil {
		t.d.After = *after
	}
	return t.sink(&t.d)
}

func (t *treeDiff) problem(p *piece) error {
	t.d = difference{VA: p.va, Size: p.size, Entries: 1, Problem: p.problem}
	return t.sink(&t.d)
}

// tables compares two PTE tables of the same addresses.
func (t *treeDiff) tables(a, b *piece) error {
	sameRights := a.table.Access == b.table.Access
	if sameRights && *a.entries == *b.entries {
		return nil
	}
	for i := a.table.First; i <= a.table.Last; i++ {
		x, y := a.entries[i], b.entries[i]
		if x == y && (sameRights || x == 0) {
			continue
		}
		if err := t.slots(a, b, i, x, y); err != nil {
			return err
		}
	}
	return nil
}

func (t *treeDiff) slots(a, b *piece, i int, x, y uint64) error {
	switch {
	case x == 0:
		t.leafOf(&t.b, b, i, false)
		return t.one(&t.b, nil, false)
	case y == 0:
		t.leafOf(&t.a, a, i, true)
		return t.one(&t.a, nil, true)
	}
	t.leafOf(&t.a, a, i, true)
	t.leafOf(&t.b, b, i, false)
	return t.one(&t.a, &t.b, true)
}

// both compares two entries of the same size above the PTE tables.
func (t *treeDiff) both(a, b *piece) error {
	if a.problem != nil || b.problem != nil {
		if a.problem != nil {
			return t.problem(a)
		}
		return t.problem(b)
	}
	t.leafOf(&t.a, a, a.index, true)
	t.leafOf(&t.b, b, b.index, false)
	return t.one(&t.a, &t.b, true)
}

// covered compares one large entry with all smaller pieces of the other capture that lie in it.
func (t *treeDiff) covered(large, small *side, largeIsBefore bool) error {
	p := *large.p
	if p.problem != nil {
		for small.p != nil && small.p.last() <= p.last() {
			if err := small.advance(); err != nil {
				return err
			}
		}
		return errors.Join(t.problem(&p), large.advance())
	}
	how := changeSplit
	if !largeIsBefore {
		how = changeCollapsed
	}
	var whole tree.Leaf
	t.leafOf(&whole, &p, p.index, largeIsBefore)
	bounds := t.filter.Bounds()
	at := max(p.va, bounds.First)
	for small.p != nil && small.p.va <= p.last() {
		if err := t.gap(&whole, at, small.p.va, largeIsBefore, how); err != nil {
			return err
		}
		at = small.p.last() + 1
		if small.p.problem != nil {
			if err := t.problem(small.p); err != nil {
				return err
			}
		} else if err := t.slices(&whole, small.p, largeIsBefore, how); err != nil {
			return err
		}
		if err := small.advance(); err != nil {
			return err
		}
	}
	if last := min(p.last(), bounds.Last); at != 0 && at <= last {
		if err := t.gap(&whole, at, last+1, largeIsBefore, how); err != nil {
			return err
		}
	}
	return large.advance()
}

// gap is a part of a large entry that the other capture has nothing for.
func (t *treeDiff) gap(whole *tree.Leaf, from, to x86.Virt, wholeIsBefore bool, how change) error {
	if from == to {
		return nil
	}
	none := tree.Leaf{Kind: tree.KindNone}
	t.d = difference{VA: from, Size: uint64(to - from), Changes: (how | changeMapped) &^ t.ignore, Entries: 1, Before: none, After: *whole}
	if wholeIsBefore {
		t.d.Changes, t.d.Before, t.d.After = (how|changeUnmapped)&^t.ignore, *whole, none
	}
	if t.d.Changes == 0 {
		return nil
	}
	return t.sink(&t.d)
}

// slices compares a large entry, cut to the size of the small ones, with them.
func (t *treeDiff) slices(whole *tree.Leaf, p *piece, wholeIsBefore bool, how change) error {
	first, last := p.index, p.index
	if p.entries != nil {
		first, last = p.table.First, p.table.Last
	}
	for i := first; i <= last; i++ {
		t.slice = *whole
		t.slice.VA = p.table.Addr(i)
		t.slice.Level = p.table.Level
		if whole.HasPFN {
			t.slice.PFN += x86.PFN((t.slice.VA - whole.VA) >> x86.PageShift)
		}
		other := &t.a
		if p.table.Entries[i] == 0 {
			other = nil
		} else {
			t.leafOf(other, p, i, !wholeIsBefore)
		}
		if err := t.one(&t.slice, other, wholeIsBefore, how); err != nil {
			return err
		}
	}
	return nil
}
