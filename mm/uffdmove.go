package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
	"ptemu/thp"
)

// pageMover moves pages from one area to another of the same space.
//
// Linux: mm/userfaultfd.c:move_pages()
type pageMover struct {
	filler      // where to
	from   *VMA // where from
	holes  bool // empty slots are passed over
}

// Move moves length bytes of private anonymous memory from src to dst, which nothing may be mapped at (6.12 on). With
// holes, slots of the source may be empty. It returns how many bytes were moved, with what kept it from going on: EAGAIN,
// whatever that was, if any were.
//
// Linux: mm/userfaultfd.c:move_pages()
func (u *Uffd) Move(c *CPU, dst, src x86.Virt, length uint64, holes bool) (int, error) {
	const call = "UFFDIO_MOVE"
	if !c.m.Policy.UffdMove || c.space != u.space {
		return 0, &CallError{call, dst, ErrInval}
	}
	to, err := u.checkRange(call, dst, length)
	if err != nil {
		return 0, err
	}
	from, err := u.checkRange(call, src, length)
	if err != nil {
		return 0, err
	}
	s := u.space
	s.readLock()
	defer s.readUnlock()
	dv, sv := s.VMA(dst), s.VMA(src)
	if dv != nil && !dv.shared() {
		dv.prepareAnon()
	}
	if dv == nil || sv == nil {
		return 0, &CallError{call, dst, ErrNoEnt}
	}
	if to.Last >= dv.End || from.Last >= sv.End || !u.mayMove(dv, sv) {
		return 0, &CallError{call, dst, ErrInval}
	}
	p := &pageMover{filler{c, c.m, s, dv, false}, sv, holes}
	for at := uint64(0); at < length; {
		n, err := p.step(dst+x86.Virt(at), src+x86.Virt(at), length-at)
		if err != nil {
			if at > 0 {
				err = ErrAgain
			}
			return int(at), &CallError{call, src + x86.Virt(at), err}
		}
		at += n
	}
	return int(length), nil
}

// mayMove is validate_move_areas().
func (u *Uffd) mayMove(dv, sv *VMA) bool {
	const alike = vmAccess | VMLocked
	return !sv.shared() && !dv.shared() && (sv.flags^dv.flags)&alike == 0 && sv.prot == dv.prot && sv.writable() &&
		(sv.flags|dv.flags)&VMPFNMap == 0 && dv.uffd == u && dv.Anonymous() && sv.Anonymous()
}

// step moves what is at src, and returns how many bytes that was; 0 after a split, or when a migration has ended.
func (p *pageMover) step(dst, src x86.Virt, left uint64) (uint64, error) {
	if err := p.tableOf(x86.LevelPMD, src); err != nil {
		return 0, err
	}
	if _, huge := p.s.hugePMD(dst); huge {
		return 0, ErrExist
	}
	if e, huge := p.s.hugePMD(src); huge {
		return p.stepHuge(dst, src, left, e)
	}
	if err := p.tableOf(x86.LevelPTE, src); err != nil {
		return 0, err
	}
	e := p.s.pte(src)
	d, err := p.lock(dst)
	if err != nil {
		return 0, err
	}
	taken := !d.Get(dst.Index(x86.LevelPTE)).None()
	d.Unlock()
	switch {
	case taken:
		return 0, ErrExist
	case e.None():
		if !p.holes {
			return 0, ErrNoEnt
		}
		return x86.PageSize, nil
	}
	if p.m.layout.Decode(x86.LevelPTE, uint64(e)).Kind == swapentry.KindMigration {
		if !p.m.waitFor(func() bool { return p.s.pte(src) != e }) {
			return 0, ErrAgain
		}
		return 0, nil
	}
	if pfn, ok := p.m.normal(e); ok && p.m.exclusive(pfn) && p.m.folio(pfn).order > 0 {
		return 0, p.split(p.m.head(pfn))
	}
	n, err := p.moved(dst, e)
	if err != nil {
		return 0, err
	}
	if err := p.take(src, e); err != nil {
		return 0, err
	}
	d, err = p.lock(dst)
	if err != nil {
		return 0, err
	}
	defer d.Unlock()
	d.Set(dst.Index(x86.LevelPTE), n)
	return x86.PageSize, nil
}

// tableOf makes sure that the source has a table of a level at src: with holes one is made, without it is missed, whatever
// is at the destination.
func (p *pageMover) tableOf(l x86.Level, src x86.Virt) error {
	var err error
	if t := p.s.tree; l == x86.LevelPMD {
		var c pgtable.PMDCursor
		if c, err = t.LockPMDs(src, p.holes); err == nil {
			c.Unlock()
		}
	} else {
		var c pgtable.PTECursor
		if c, err = t.LockPTEs(src, p.holes); err == nil {
			c.Unlock()
		}
	}
	switch {
	case err == nil:
		return nil
	case p.holes:
		return ErrNoMem
	}
	return ErrNoEnt
}

// split makes single pages of a large folio, which is not moved as it is.
func (p *pageMover) split(head x86.PFN) error {
	p.m.get(head)
	defer p.m.put(head)
	if !p.m.splitFolio(p.c, head) {
		return ErrBusy
	}
	return nil
}

// take empties the slot at src, and tells processors at once.
func (p *pageMover) take(src x86.Virt, e x86.PTE) error {
	c, err := p.s.tree.LockPTEs(src, false)
	if err != nil {
		return ErrAgain
	}
	defer c.Unlock()
	c.Clear(src.Index(x86.LevelPTE))
	if e.Present() {
		p.s.flushPage(src)
	}
	return nil
}

// moved returns what the entry e becomes in its new place, once its page belongs there. The page keeps its mapping and
// its reference.
//
// Linux: mm/userfaultfd.c:move_pages_pte()
func (p *pageMover) moved(dst x86.Virt, e x86.PTE) (x86.PTE, error) {
	m := p.m
	if !e.Present() {
		return p.movedSwap(dst, e)
	}
	if e.PFN(m.abi) == m.zero {
		return x86.MkPTE(m.abi, m.zero, p.v.prot).MkSpecial(), nil
	}
	pfn, ok := m.normal(e)
	if !ok || !m.anonPage(pfn) || !m.exclusive(pfn) || m.maybePinned(pfn) {
		return 0, ErrBusy
	}
	p.adopt(pfn, dst)
	n := x86.MkPTE(m.abi, pfn, p.v.prot).MkSoftDirty()
	if e.Dirty(m.abi) {
		n = n.MkDirty(m.abi)
	}
	return m.mkWrite(p.v, dst, n, GainUffdMove), nil
}

// adopt makes the page one of the destination. Linux: mm/rmap.c:folio_move_anon_rmap()
func (p *pageMover) adopt(head x86.PFN, dst x86.Virt) {
	f := &p.m.pages[head]
	f.anon, f.index = p.v.anon, p.v.index(dst)
}

// movedSwap is moved for a swap entry. Linux: mm/userfaultfd.c:move_swap_pte()
func (p *pageMover) movedSwap(dst x86.Virt, e x86.PTE) (x86.PTE, error) {
	switch d := p.m.layout.Decode(x86.LevelPTE, uint64(e)); {
	case d.Kind != swapentry.KindSwap:
		return 0, ErrFault
	case !d.Exclusive:
		return 0, ErrBusy
	}
	if pfn := p.m.swap.slots[p.m.layout.FromPTE(e).Offset()].page; pfn != 0 {
		p.adopt(p.m.head(pfn), dst)
	}
	return swapentry.SwpMkSoftDirty(e), nil
}

// stepHuge is step for a huge page: moved whole where it fits, else split.
//
// Linux: mm/huge_memory.c:move_pages_huge_pmd()
func (p *pageMover) stepHuge(dst, src x86.Virt, left uint64, e x86.PMD) (uint64, error) {
	const size = thp.Pages * x86.PageSize
	m := p.m
	pfn, page := m.normalPMD(e)
	switch {
	case !e.Present():
		if !m.waitFor(func() bool { now, _ := p.s.hugePMD(src); return now != e }) {
			return 0, ErrAgain
		}
		return 0, nil
	case page && !m.exclusive(pfn):
		return 0, ErrBusy
	case dst%size != 0 || src%size != 0 || left < size || !p.emptyPMD(dst):
		return 0, p.c.splitHugePMD(p.from, src)
	case page && m.maybePinned(pfn):
		return 0, ErrBusy
	}
	n := p.movedPMD(e)
	if page {
		p.adopt(pfn, dst)
	}
	return size, p.movePMD(dst, src, n)
}

// movedPMD returns what a huge entry becomes.
func (p *pageMover) movedPMD(e x86.PMD) x86.PMD {
	a := p.v.area()
	switch pfn, page := p.m.normalPMD(e); {
	case page:
		return a.Leaf(pfn).MkDirty(p.m.abi).MkWrite(p.m.abi)
	case p.m.kernel.HugeZeroSpecial:
		return e.MkSoftDirty().ClearUffdWP()
	}
	return a.Leaf(p.m.huge)
}

// movePMD empties the slot at src, tells processors, and stores e at dst, with a deposited table as src had one.
func (p *pageMover) movePMD(dst, src x86.Virt, e x86.PMD) error {
	t := p.s.tree
	c, err := t.LockPMDs(src, false)
	if err != nil {
		return ErrAgain
	}
	c.GetAndClear(src.Index(x86.LevelPMD))
	table, deposited := c.Withdraw()
	c.Unlock()
	p.m.FlushTLB(t, pgtable.Flush{
		Range: pgtable.Range{First: src, Last: src + thp.Pages*x86.PageSize - 1}, Levels: 1 << x86.LevelPMD,
	})
	if deposited {
		t.FreeTable(table)
	}
	if err := p.v.area().Map(t, dst, e); err != nil {
		return ErrNoMem
	}
	return nil
}

// emptyPMD reports that nothing is in the PMD slot of va, not even a table.
func (p *pageMover) emptyPMD(va x86.Virt) bool {
	c, err := p.s.tree.LockPMDs(va, false)
	if err != nil {
		return true
	}
	defer c.Unlock()
	return c.Get(va.Index(x86.LevelPMD)).None()
}
