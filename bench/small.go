package bench

import (
	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/internal/ptescan"
	"ptemu/pgtable"
)

// smallOps is how many operations about a few pages a pass has, at least. On large sets they are more, so that what one
// pass left in the caches does not serve the next.
const smallOps = 4096

func (s *Set) smallOps() int { return max(smallOps, len(s.Tables)/2) }

// smallCases change a few pages at random places, each from the root, with a gather of its own.
func smallCases() []Case {
	return []Case{smallCase(CaseOnePage, 1), smallCase(Case8Pages, 8)}
}

func smallCase(name string, pages int) Case {
	c := Case{Name: name, PagesPerOp: pages, fill: dense(rw)}
	c.make = func(s *Set) ([]Variant, error) {
		at := s.places(s.smallOps(), pages)
		all, err := atLevels(s, func() (func(int) (int64, error), error) { return s.changingAt(at) })
		if err != nil {
			return nil, err
		}
		for i := range all {
			all[i].PTEs = len(at) * pages
		}
		k, u := kernelRWtoR, kernelUffdWP
		k.pages, u.pages = pages, pages
		return append(all, s.lockedAt(at), s.kernel(k), s.kernel(u)), nil
	}
	return c
}

// places returns n random ranges of some pages.
func (s *Set) places(n, pages int) []pgtable.Range {
	r, all := random(), make([]pgtable.Range, n)
	for i := range all {
		first := s.Range.First + x86.Virt(r.IntN(s.PTEs()-pages+1))*x86.PageSize
		all[i] = pgtable.Range{First: first, Last: first + x86.Virt(pages)*x86.PageSize - 1}
	}
	return all
}

// changingAt changes each of the ranges, through the tree.
func (s *Set) changingAt(at []pgtable.Range) (func(odd int) (int64, error), error) {
	p, err := s.protections(change{prot: ro}, change{prot: rw})
	if err != nil {
		return nil, err
	}
	g := new(pgtable.Gather)
	return func(odd int) (count int64, err error) {
		for _, r := range at {
			g.Start(s.Tree, nil)
			n, err := s.Tree.ChangeProtection(g, r, p[odd])
			if e := g.Finish(); err == nil {
				err = e
			}
			if err != nil {
				return 0, err
			}
			count += n
		}
		return count, nil
	}, nil
}

// lockedAt changes each of the ranges one entry at a time.
func (s *Set) lockedAt(at []pgtable.Range) Variant {
	c := s.scalars(change{prot: ro}, change{prot: rw})
	g := new(pgtable.Gather)
	pages := int(at[0].Last-at[0].First+1) / x86.PageSize
	return Variant{Name: "locked", Kind: Locked, PTEs: len(at) * pages, Pass: func(odd int) (count int64, err error) {
		for _, r := range at {
			g.Start(s.Tree, nil)
			n, err := c[odd].locked(s, g, r.First, r.Last)
			if e := g.Finish(); err == nil {
				err = e
			}
			if err != nil {
				return 0, err
			}
			count += n
		}
		return count, nil
	}}
}

// translations are walks of the processor at random addresses. There is no TLB here, so each is a walk of four levels;
// warm and cold are the caches of the host.
func translations() []Case {
	return []Case{
		translateCase("translate, 64 pages: warm TLB", 64),
		translateCase("translate, all pages: cold TLB", 0),
	}
}

func translateCase(name string, pages int) Case {
	c := Case{Name: name, PagesPerOp: 1, fill: dense(rw)}
	c.make = func(s *Set) ([]Variant, error) {
		at := s.places(s.smallOps(), 1)
		if pages != 0 {
			for i := range at {
				at[i] = at[i%pages]
			}
		}
		p := s.ABI().Paging()
		regs := mmu.LinuxRegs(uint64(s.Tree.Root().Phys()), p.Levels)
		unit, err := mmu.New(regs, p)
		if err != nil {
			return nil, err
		}
		walk := func(int) (mapped int64, err error) {
			for _, r := range at {
				if w := unit.Walk(s.RAM, r.First); w.Outcome == mmu.Mapped {
					mapped++
				}
			}
			return mapped, nil
		}
		// As many translations as a processor's second-level TLB has.
		core := mmu.NewCore(unit, mmu.TLBSize{Translations: 1536, Tables: 32})
		access := func(int) (mapped int64, err error) {
			for _, r := range at {
				if _, err := core.Access(s.RAM, s.Tree, r.First, mmu.Access{Kind: mmu.Read, User: true}); err != nil {
					return mapped, err
				}
				mapped++
			}
			return mapped, nil
		}
		var path [x86.LevelPGD]pgtable.Entry
		steps := func(int) (mapped int64, err error) {
			for _, r := range at {
				if len(s.Tree.Walk(r.First, path[:0])) == p.Levels {
					mapped++
				}
			}
			return mapped, nil
		}
		return []Variant{
			{Name: "mmu.Core, TLB", Kind: Ours, Level: ptescan.Generic, PTEs: len(at), Pass: access},
			{Name: "mmu.Walk", Kind: Ours, Level: ptescan.Generic, PTEs: len(at), Pass: walk},
			{Name: "Tree.Walk", Kind: Ours, Level: ptescan.Generic, PTEs: len(at), Pass: steps},
			skipped("kernel", Kernel, "no call only translates"),
		}, nil
	}
	return c
}
