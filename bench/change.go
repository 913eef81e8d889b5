package bench

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// change is a change of protection of the whole set.
type change struct {
	prot  x86.Prot
	flags x86.ChangeFlags
	// frames says what is known of the frames: all exclusive, none, nothing.
	frames frames
}

type frames uint8

const (
	unknown frames = iota
	allExclusive
	allShared
)

// exclusive makes the bitmap for all frames that fills use.
func (s *Set) exclusive(f frames) pgtable.Exclusive {
	if f == unknown {
		return pgtable.Exclusive{}
	}
	if s.bits[f] == nil {
		s.bits[f] = make([]uint64, (max(s.PTEs(), randomFrames)+63)/64)
		for i := range s.bits[f] {
			if f == allExclusive {
				s.bits[f][i] = ^uint64(0)
			}
		}
	}
	return pgtable.Exclusive{Base: firstFrame, Bits: s.bits[f]}
}

func (s *Set) swapChange(c change) x86.SwapChange {
	return s.Layout.Change(c.flags, swapentry.BackingAnon, false)
}

func (s *Set) protection(c change, e pgtable.Exclusive) (*pgtable.Protection, error) {
	return pgtable.NewProtection(s.ABI(), pgtable.ProtectionArgs{
		Prot: c.prot, Flags: c.flags, Swap: s.swapChange(c), Anonymous: true, Exclusive: e,
	})
}

// protections makes both changes at the level in use.
func (s *Set) protections(there, back change) (p [2]*pgtable.Protection, err error) {
	for i, c := range [...]change{there, back} {
		if p[i], err = s.protection(c, s.exclusive(c.frames)); err != nil {
			return p, err
		}
	}
	return p, nil
}

// changeCase is a change of all tables and one that undoes it.
func changeCase(c Case, there, back change, kernel kernelCall) Case {
	c.make = func(s *Set) ([]Variant, error) {
		all, err := atLevels(s, func() (func(int) (int64, error), error) { return s.changing(s.Range, there, back) })
		if err != nil {
			return nil, err
		}
		if err := s.changingPart(&all[len(all)-1], there, back); err != nil {
			return nil, err
		}
		locked, err := s.lockedChange(there, back)
		if err != nil {
			return nil, err
		}
		all = append(append(s.floors(c.Floor), all...), s.scalarChanging(there, back), locked)
		return append(all, s.kernels(kernel)...), nil
	}
	return c
}

// changing is the change through the tree, from the root.
func (s *Set) changing(r pgtable.Range, there, back change) (func(int) (int64, error), error) {
	p, err := s.protections(there, back)
	if err != nil {
		return nil, err
	}
	g := new(pgtable.Gather)
	return func(odd int) (int64, error) {
		g.Start(s.Tree, nil)
		n, err := s.Tree.ChangeProtection(g, r, p[odd])
		if e := g.Finish(); err == nil {
			err = e
		}
		return n, err
	}, nil
}

// slowTables is how many tables (64 MiB) a pass of what is not vectorised does.
const slowTables = 16384

// changingPart makes a generic variant change a part of a large set in each pass, so that it takes bearable time.
func (s *Set) changingPart(v *Variant, there, back change) error {
	if len(s.Tables) <= slowTables {
		return nil
	}
	restore := ptescan.Use(v.Level)
	defer restore()
	p, err := s.protections(there, back)
	if err != nil {
		return err
	}
	g, some := new(pgtable.Gather), s.some(slowTables)
	v.PTEs = some.ptes()
	v.Pass = func(odd int) (int64, error) {
		first, last := some.pass(odd)
		g.Start(s.Tree, nil)
		n, err := s.Tree.ChangeProtection(g, pgtable.Range{First: s.tableVA(first), Last: s.tableVA(last) - 1}, p[odd])
		if e := g.Finish(); err == nil {
			err = e
		}
		return n, err
	}
	return nil
}

// scalars makes both changes for plain loops.
func (s *Set) scalars(there, back change) (c [2]scalarChange) {
	for i, x := range [...]change{there, back} {
		c[i] = scalarChange{
			pte: s.ABI().Change(x.prot, x.flags), swap: s.swapChange(x), a: s.ABI(), excl: exclusive(s.exclusive(x.frames).Bits),
		}
	}
	return c
}

// scalarChanging is the change in a plain loop.
func (s *Set) scalarChanging(there, back change) Variant {
	c := s.scalars(there, back)
	some := s.some(slowTables)
	return Variant{Name: "scalar", Kind: Scalar, PTEs: some.ptes(), Pass: func(odd int) (int64, error) {
		first, last := some.pass(odd)
		return c[odd].tables(s.Tables[first:last]), nil
	}}
}

// lockedTables is how many tables a pass of one entry at a time does.
const lockedTables = 2048

// lockedChange changes one entry at a time: it locks the table from the root, and unlocks it.
func (s *Set) lockedChange(there, back change) (Variant, error) {
	c := s.scalars(there, back)
	some, g := s.some(lockedTables), new(pgtable.Gather)
	pass := func(odd int) (n int64, err error) {
		first, last := some.pass(odd)
		err = s.gathered(g, func(g *pgtable.Gather) error {
			n, err = c[odd].locked(s, g, s.tableVA(first), s.tableVA(last))
			return err
		})
		return n, err
	}
	return Variant{Name: "locked", Kind: Locked, PTEs: some.ptes(), Pass: pass}, nil
}

// locked changes the pages from first up to, not including, end.
func (c *scalarChange) locked(s *Set, g *pgtable.Gather, first, end x86.Virt) (n int64, err error) {
	for va := first; va < end; va += x86.PageSize {
		cur, err := s.Tree.LockPTEs(va, false)
		if err != nil {
			return n, err
		}
		n += c.entry(cur, g, va.Index(x86.LevelPTE))
		cur.Unlock()
	}
	return n, nil
}

// entry changes one entry under the lock.
func (c *scalarChange) entry(cur pgtable.PTECursor, g *pgtable.Gather, i int) int64 {
	old, p := cur.Get(i), &c.pte
	switch {
	case old.None():
		return 0
	case uint64(old)&p.Select == 0:
		if uint64(old)&p.Exists != 0 {
			return 0
		}
		v, _ := c.swap.Apply(uint64(old))
		if v == uint64(old) {
			return 0
		}
		cur.Set(i, x86.PTE(v))
		return 1
	}
	v := p.Apply(uint64(old))
	if p.Writable(v) && (p.Upgrade == x86.UpgradeAll || c.excl.has(x86.PTE(v).PFN(c.a))) {
		v = p.MkWrite(v)
	}
	if v != uint64(old) {
		cur.Set(i, x86.PTE(v))
		if p.NeedsFlush(uint64(old), v) {
			g.PTEs(cur, i, i)
		}
	}
	return 1
}
