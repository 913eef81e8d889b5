//go:build linux && amd64

package peers

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// ptemuSide is a tree of ptemu, for the pages of a shared mapping.
type ptemuSide struct {
	tb     testing.TB
	tree   *pgtable.Tree
	g      pgtable.Gather
	prots  [rightsCount]x86.Prot
	change [rightsCount]*pgtable.Protection
}

// newPtemu returns an empty tree with room for pages that fill this many bytes of PTE tables.
func newPtemu(tb testing.TB, bytes uint64) *ptemuSide {
	tb.Helper()
	l := swapentry.NewLayout(x86.MustABI(x86.Linux6_12(), x86.DefaultPaging(levels())))
	ram, err := physmem.NewRAM(0, bytes/x86.PageSize+2048)
	if err != nil {
		tb.Fatal(err)
	}
	p := &ptemuSide{tb: tb, prots: [rightsCount]x86.Prot{
		0: x86.ProtReadonly, write: x86.ProtShared, exec: x86.ProtReadonlyExec, write | exec: x86.ProtSharedExec,
	}}
	if p.tree, err = pgtable.New(ram, l.ABI()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.tree.Check(); err != nil {
			tb.Error(err)
		}
		if err := ram.Close(); err != nil {
			tb.Error(err)
		}
	})
	for r := range p.prots {
		args := pgtable.ProtectionArgs{Prot: p.prots[r], Swap: l.Change(0, swapentry.BackingFile, false)}
		if p.change[r], err = pgtable.NewProtection(l.ABI(), args); err != nil {
			tb.Fatal(err)
		}
	}
	return p
}

func (p *ptemuSide) name() string { return sides[0] }

func (p *ptemuSide) must(err error) {
	if err != nil {
		p.tb.Helper()
		p.tb.Fatal(err)
	}
}

func (s span) asRange() pgtable.Range {
	return pgtable.Range{First: s.first, Last: s.page(s.pages) - 1}
}

func (p *ptemuSide) mapAll(s span, r rights) { p.must(p.tree.Map(s.asRange(), s.frame, p.prots[r])) }

func (p *ptemuSide) unmap(s span) { p.must(p.tree.Unmap(s.asRange(), nil)) }

func (p *ptemuSide) protect(s span, r rights) {
	p.g.Start(p.tree, nil)
	_, err := p.tree.ChangeProtection(&p.g, s.asRange(), p.change[r])
	p.must(err)
	p.must(p.g.Finish())
}

// leaf returns the frame and the rights that an entry gives.
func (p *ptemuSide) leaf(e x86.PTE) (pfn x86.PFN, r rights, ok bool) {
	if !e.Present() {
		return 0, 0, false
	}
	if e.Write(p.tree.ABI()) {
		r |= write
	}
	if e.Exec() {
		r |= exec
	}
	return e.PFN(p.tree.ABI()), r, true
}

func (p *ptemuSide) lookup(va x86.Virt) (x86.PFN, rights, bool) {
	var path [x86.LevelPGD]pgtable.Entry
	way := p.tree.Walk(va, path[:0])
	if e := way[len(way)-1]; e.Level == x86.LevelPTE {
		return p.leaf(x86.PTE(e.Value))
	}
	return 0, 0, false
}

func (p *ptemuSide) lookups(at []x86.Virt) (sum uint64) {
	for _, va := range at {
		pfn, r, _ := p.lookup(va)
		sum += uint64(pfn) + uint64(r)
	}
	return sum
}

func (p *ptemuSide) protectPages(_ span, at []x86.Virt, r rights) {
	for _, va := range at {
		p.g.Start(p.tree, nil)
		n, err := p.tree.ChangeProtection(&p.g, pgtable.Range{First: va, Last: va + x86.PageSize - 1}, p.change[r])
		if n != 1 || err != nil {
			p.tb.Fatal(n, err)
		}
		p.must(p.g.Finish())
	}
}

func (p *ptemuSide) setPages(s span, at []x86.Virt, r rights) {
	for _, va := range at {
		c, err := p.tree.LockPTEs(va, true)
		p.must(err)
		c.Set(va.Index(x86.LevelPTE), x86.MkPTE(p.tree.ABI(), s.at(va), p.prots[r]))
		c.Unlock()
	}
}

func (p *ptemuSide) each(f func(va x86.Virt, pfn x86.PFN, r rights)) {
	user := pgtable.Range{First: 0, Last: p.tree.Limit() - 1}
	p.must(p.tree.EachPMD(user, false, func(s pgtable.PMDSlot) error {
		c, err := s.LockPTEs()
		if err == pgtable.ErrNoTable {
			return nil
		} else if err != nil {
			return err
		}
		defer c.Unlock()
		for i := range x86.EntriesPerTable {
			if pfn, r, ok := p.leaf(c.Get(i)); ok {
				f(c.Addr(i), pfn, r)
			}
		}
		return nil
	}))
}

func (p *ptemuSide) unit() (*mmu.MMU, physmem.Reader) {
	return newUnit(p.tb, uint64(p.tree.Root().Phys())), p.tree.Memory()
}
