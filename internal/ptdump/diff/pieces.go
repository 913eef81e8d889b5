package diff

import (
	"errors"
	"iter"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// piece is a part of one tree: a whole PTE table, an entry of a higher level, or a part that cannot be read.
type piece struct {
	va      x86.Virt
	size    uint64
	entries *physmem.Table // of a PTE table, else nil
	table   pgtable.Table  // the table that holds the piece, or is it
	index   int            // of an entry in it
	problem error          // of a part that cannot be read
}

func (p *piece) last() x86.Virt { return p.va + x86.Virt(p.size-1) }

// pieces walks a tree piece by piece, in address order. Pieces are good until the next.
func pieces(s *tree.Tree, f tree.Filter) iter.Seq2[*piece, error] {
	return func(yield func(*piece, error) bool) {
		if err := s.Visit(f, &pieceVisitor{yield: yield}); err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

var errStopped = errors.New("stopped")

type pieceVisitor struct {
	yield func(*piece, error) bool
	p     piece
}

func (v *pieceVisitor) hand() error {
	if !v.yield(&v.p, nil) {
		return errStopped
	}
	return nil
}

func (v *pieceVisitor) Enter(*pgtable.Table) (bool, error) { return true, nil }

func (v *pieceVisitor) Leave(*pgtable.Table) error { return nil }

func (v *pieceVisitor) Problem(p *pgtable.Problem) error {
	v.p = piece{va: p.VA, size: p.Size, problem: p.Err}
	return v.hand()
}

func (v *pieceVisitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotNone {
		return nil
	}
	v.p = piece{va: t.Addr(i), size: t.Level.Size(), table: *t, index: i}
	return v.hand()
}

func (v *pieceVisitor) PTEs(t *pgtable.Table) error {
	v.p = piece{va: t.Addr(t.First), size: uint64(t.Last-t.First+1) * x86.PageSize, entries: t.Entries, table: *t}
	return v.hand()
}
