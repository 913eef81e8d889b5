package bench

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// operationBytes bounds the tables of cases whose undoing takes long.
const operationBytes = 128 << 20

// operation is a case whose pass 0 is timed, and put right by undo.
type operation struct {
	Case
	do     func(s *Set) (func() (int64, error), error) // through the tree
	plain  func(s *Set) int64                          // in a plain loop
	undo   func(s *Set) error                          // nil: what the tables held is copied back
	kernel kernelCall
}

func (o operation) asCase() Case {
	c := o.Case
	c.First, c.MaxBytes = true, operationBytes
	c.make = o.variants
	return c
}

func (o operation) variants(s *Set) ([]Variant, error) {
	undo := func() error { return o.undo(s) }
	if o.undo == nil {
		saved := s.snapshot()
		undo = func() error { saved.restore(); return nil }
	}
	there := func(do func() (int64, error)) func(odd int) (int64, error) {
		return func(odd int) (int64, error) {
			if odd == 1 {
				return 0, undo()
			}
			return do()
		}
	}
	all := s.floors(o.Floor)
	mine, err := atLevels(s, func() (func(int) (int64, error), error) {
		do, err := o.do(s)
		return there(do), err
	})
	if err != nil {
		return nil, err
	}
	all = append(all, mine...)
	if o.plain != nil {
		all = append(all, Variant{Name: "scalar", Kind: Scalar, PTEs: s.PTEs(),
			Pass: there(func() (int64, error) { return o.plain(s), nil })})
	}
	return append(all, s.kernel(o.kernel)), nil
}

// operations are the other operations on whole address spaces.
func operations() []Case {
	return []Case{
		copyCase(CaseFork, false), copyCase(CaseForkNew, true),
		operation{
			Case: Case{Name: "zap", Floor: FloorXor, fill: dense(rw)}, do: zapping, kernel: kernelCall{op: opDontneed},
			plain: func(s *Set) int64 { return scalarZap(s.ABI().Zap(0), s.Tables) },
		}.asCase(),
		operation{
			Case: Case{Name: "map", Floor: FloorXor, fill: nothing}, do: mapping, kernel: kernelCall{op: opPopulate},
			plain: func(s *Set) int64 { return scalarMap(x86.MkPTE(s.ABI(), firstFrame, rw), s.Tables) },
		}.asCase(),
		operation{
			Case: Case{Name: "soft-dirty clear", Floor: FloorXor, fill: dense(rw | x86.PageDirty | x86.PageSoftDirty)},
			do:   clearing, kernel: kernelCall{op: opSoftDirty},
			plain: func(s *Set) int64 {
				c := scalarChange{pte: s.ABI().ChangeClearSoftDirty(), swap: x86.NewSwapChange(), a: s.ABI()}
				return c.tables(s.Tables)
			},
		}.asCase(),
		operation{
			Case: Case{Name: "aging, all young", Floor: FloorXor, fill: dense(rw)}, do: aging, kernel: kernelCall{op: opReferenced},
			undo:  func(s *Set) error { return s.Tree.MkYoung(s.Range, nil) },
			plain: func(s *Set) int64 { return scalarHarvest(s.ABI().HarvestYoung(), s.Tables) },
		}.asCase(),
		operation{
			Case: Case{Name: "aging, all old", Floor: FloorRead, fill: dense(rw &^ x86.PageAccessed)}, do: aging,
			undo:   func(*Set) error { return nil },
			plain:  func(s *Set) int64 { return scalarHarvest(s.ABI().HarvestYoung(), s.Tables) },
			kernel: noCall("measured with young pages"),
		}.asCase(),
		hugeCase("THP split", true), hugeCase("THP collapse", false),
	}
}

func zapping(s *Set) (func() (int64, error), error) {
	g, z, pages := new(pgtable.Gather), new(pgtable.Zap), int64(0)
	z.Present = func(_ pgtable.PTECursor, found *pgtable.Bitmap, _ *physmem.Table) { pages += int64(found.Len()) }
	do := func(g *pgtable.Gather) error { return s.Tree.Zap(g, s.Range, z) }
	return func() (int64, error) {
		pages = 0
		err := s.gathered(g, do)
		return pages, err
	}, nil
}

func mapping(s *Set) (func() (int64, error), error) {
	return func() (int64, error) { return int64(s.PTEs()), s.Tree.Map(s.Range, firstFrame, rw) }, nil
}

func clearing(s *Set) (func() (int64, error), error) {
	g, o := new(pgtable.Gather), new(pgtable.SoftDirty)
	do := func(g *pgtable.Gather) error { return s.Tree.ClearSoftDirty(g, s.Range, o) }
	return func() (int64, error) { return int64(s.PTEs()), s.gathered(g, do) }, nil
}

func aging(s *Set) (func() (int64, error), error) {
	return func() (int64, error) {
		n, err := s.Tree.Young(s.Range, true, nil, nil)
		return int64(n), err
	}, nil
}
