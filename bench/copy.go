package bench

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan/floor"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// child is a second tree with tables, made when it is first needed.
type child struct {
	parent *Set
	set    *Set
}

// tables returns its tables.
func (k *child) tables() ([]*physmem.Table, error) {
	if k.set == nil {
		o, err := k.parent.second()
		if err != nil {
			return nil, err
		}
		k.set = o
	}
	return k.set.Tables, nil
}

// empty empties it, and keeps the tables. Their counts of entries in use are right again only with Recount, which is for
// those who made them wrong.
func (k *child) empty() {
	for _, t := range k.set.Tables {
		clear(t[:])
	}
}

func (k *child) close() error {
	if k.set == nil {
		return nil
	}
	defer func() { k.set = nil }()
	return k.set.Tree.Close()
}

// copyCase is fork: into a tree that has tables, or into one that must make them.
func copyCase(name string, fresh bool) Case {
	c := Case{Name: name, Floor: FloorCopy, First: true, MaxBytes: operationBytes, fill: dense(rw)}
	c.make = func(s *Set) ([]Variant, error) {
		kid := &child{parent: s}
		all := s.copyFloors(kid)
		mine, err := atLevels(s, func() (func(int) (int64, error), error) { return s.copying(kid, fresh) })
		if err != nil {
			return nil, err
		}
		all = append(all, mine...)
		all = append(all, s.scalarCopying(kid), s.kernel(kernelCall{op: opFork}))
		all[0].Close = kid.close
		return all, nil
	}
	return c
}

// copyFloors copy to the tables of a second tree.
func (s *Set) copyFloors(kid *child) (all []Variant) {
	for _, c := range copies(Levels()[0]) {
		pass := func(odd int) (int64, error) {
			to, err := kid.tables()
			if err != nil {
				return 0, err
			}
			for i, t := range s.Tables {
				c.table((*floor.Table)(t), (*floor.Table)(to[i]))
			}
			if odd == 1 {
				kid.empty()
			}
			return 0, nil
		}
		all = append(all, Variant{Name: c.name, Kind: Floor, PTEs: s.PTEs(), Pass: pass})
	}
	return all
}

// copying is the copy through the trees.
func (s *Set) copying(kid *child, fresh bool) (func(odd int) (int64, error), error) {
	back, err := s.protection(change{prot: rw}, pgtable.Exclusive{})
	if err != nil {
		return nil, err
	}
	g, o := new(pgtable.Gather), &pgtable.Copy{COW: true}
	var dst *pgtable.Tree
	fork := func(g *pgtable.Gather) error { return s.Tree.Copy(g, dst, s.Range, o) }
	protect := func(g *pgtable.Gather) error { _, err := s.Tree.ChangeProtection(g, s.Range, back); return err }
	return func(odd int) (n int64, err error) {
		if odd == 1 {
			if fresh {
				err = dst.Close()
			} else {
				kid.empty()
				kid.set.Recount()
			}
			if err == nil {
				err = s.gathered(g, protect)
			}
			return 0, err
		}
		if fresh {
			dst, err = pgtable.New(s.RAM, s.ABI())
		} else if _, err = kid.tables(); err == nil {
			dst = kid.set.Tree
		}
		if err == nil {
			err = s.gathered(g, fork)
		}
		return int64(s.PTEs()), err
	}, nil
}

// scalarCopying is the copy in a plain loop.
func (s *Set) scalarCopying(kid *child) Variant {
	c := s.ABI().Copy(x86.CopyCOW)
	back := scalarChange{pte: s.ABI().Change(rw, 0), swap: x86.NewSwapChange(), a: s.ABI()}
	return Variant{Name: "scalar", Kind: Scalar, PTEs: s.PTEs(), Pass: func(odd int) (int64, error) {
		to, err := kid.tables()
		if err != nil {
			return 0, err
		}
		if odd == 1 {
			kid.empty()
			back.tables(s.Tables)
			return 0, nil
		}
		return scalarCopy(c, s.Tables, to), nil
	}}
}
