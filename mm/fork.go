package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Fork copies the space that the CPU runs, and returns the child's.
//
// Linux: mm/mmap.c:dup_mmap()
func (c *CPU) Fork() (*Space, error) {
	s := c.space
	child, err := s.m.NewSpace()
	if err != nil {
		return nil, &CallError{"fork", 0, ErrNoMem}
	}
	child.parent = s
	s.writeLock()
	g := c.gather(s)
	for _, v := range s.vmas {
		if err = s.copyArea(g, child, v); err != nil {
			break
		}
	}
	g.Everything()
	g.finish()
	s.writeUnlock()
	if err != nil {
		child.exit(c)
		return nil, &CallError{"fork", 0, ErrNoMem}
	}
	return child, nil
}

// copyArea gives the child the area v and its entries.
func (s *Space) copyArea(g *gather, child *Space, v *VMA) error {
	if v.flags&VMDontCopy != 0 {
		return nil
	}
	n := *v
	n.space = child
	n.flags &^= VMLocked
	v.dupUffd(&n)
	if v.flags&VMWipeOnFork != 0 {
		n.anon = nil
	} else if v.anon != nil {
		n.anon, n.chained = &anonVMA{root: v.anon.root}, true
	}
	child.insert(&n)
	if v.flags&VMWipeOnFork != 0 || !v.copiedAtFork(&n) {
		return nil
	}
	f := forker{g: g, m: s.m, from: v, to: &n, child: child}
	return s.tree.Copy(&g.Gather, child.tree, v.whole(), f.copy())
}

// copiedAtFork is vma_needs_copy(): else the child's entries come by faults.
func (v *VMA) copiedAtFork(child *VMA) bool {
	return child.flags&VMUffdWP != 0 || v.flags&VMPFNMap != 0 || v.anon != nil ||
		v.space.m.Policy.CopyOnForkAnon && v.flags&VMMaybeGuard != 0
}

// forker copies the entries of one area.
type forker struct {
	g        *gather
	m        *Machine
	from, to *VMA
	child    *Space
}

func (f *forker) copy() *pgtable.Copy {
	o := &pgtable.Copy{
		COW: f.from.cow(), Shared: f.from.shared(), KeepUffd: f.keepsUffd(), Present: f.present, Own: f.own, Other: f.other,
	}
	o.Huge = f.copyHuge(o)
	if f.m.large > 0 && f.m.Policy.MTHP {
		o.Batch = f.batch
	}
	return o
}

func (f *forker) keepsUffd() bool { return f.to.flags&VMUffdWP != 0 }

// present counts the child's mappings, and finds the pages that it gets copies of: those that a pin forbids to share.
//
// Linux: mm/memory.c:copy_present_ptes()
func (f *forker) present(c pgtable.PTECursor, pages, own *pgtable.Bitmap) {
	f.m.eachRun(c.Table(), pages, func(slot int, r run) {
		if !f.from.space.hasPinned {
			f.m.dupMappings(r)
			return
		}
		for i := range r.n {
			if pfn := r.first + x86.PFN(i); f.mustOwn(pfn) {
				own.Set(slot + i)
				pages[(slot+i)/64] &^= 1 << ((slot + i) % 64)
			} else {
				f.m.dupMappings(run{pfn, 1})
			}
		}
	})
}

// mustOwn reports that the child must get a copy: a pin forbids to share the page.
//
// Linux: include/linux/mm.h:folio_needs_cow_for_dma()
func (f *forker) mustOwn(pfn x86.PFN) bool {
	return f.m.exclusive(pfn) && f.from.space.hasPinned && f.m.maybePinned(pfn)
}

// own copies a page for the child. Linux: mm/memory.c:copy_present_page()
func (f *forker) own(va x86.Virt, e x86.PTE) (x86.PTE, error) {
	to, err := f.m.allocFor(true)
	if err != nil {
		return 0, err
	}
	pfn, _ := f.m.normal(e)
	*f.m.content(to) = *f.m.content(pfn)
	f.m.addNewAnon(to, f.to, va)
	n := f.m.mkWrite(f.to, va, x86.MkPTE(f.m.abi, to, f.to.prot).MkDirty(f.m.abi), GainFork)
	if e.UffdWP() && f.keepsUffd() {
		n = n.WrProtect(f.m.abi).MkUffdWP(f.m.abi)
	}
	return n, nil
}

// other copies an entry that is not a page. Linux: mm/memory.c:copy_nonpresent_pte()
func (f *forker) other(va x86.Virt, e x86.PTE) (child, parent x86.PTE, err error) {
	l := f.m.layout
	parent = e
	d := l.Decode(x86.LevelPTE, uint64(e))
	switch d.Kind {
	case swapentry.KindSwap:
		f.m.swap.dup(e, l)
		parent = swapentry.PTESwpClearExclusive(e)
	case swapentry.KindMigration:
		if d.Access != swapentry.AccessRead && f.from.cow() {
			d.Access = swapentry.AccessRead
			parent = f.encode(d)
		}
	case swapentry.KindDevicePrivate:
		f.m.dupMapping(d.PFN)
		f.m.setExclusive(d.PFN, false)
		if d.Write && f.from.cow() {
			d.Write, d.SoftDirty = false, false
			parent = f.encode(d)
		}
	case swapentry.KindDeviceExclusive:
		return f.restoredAtFork(va, d)
	case swapentry.KindMarker:
		return f.markerFor(d.Marker), e, nil
	}
	child = parent
	if !f.keepsUffd() {
		child = swapentry.SwpClearUffdWP(child)
	}
	return child, parent, nil
}

// encode returns a changed entry: its type and offset follow from its fields.
func (f *forker) encode(d swapentry.Entry) x86.PTE {
	raw, err := f.m.layout.Encode(d)
	if err != nil {
		panic("mm: " + err.Error())
	}
	return x86.PTE(raw)
}

// markerFor returns what the child gets of a marker. Linux: include/linux/mm_inline.h:copy_pte_marker()
func (f *forker) markerFor(bits swapentry.Marker) x86.PTE {
	keep := swapentry.MarkerPoisoned | swapentry.MarkerGuard
	if f.keepsUffd() {
		keep |= swapentry.MarkerUffdWP
	}
	if bits&keep == 0 {
		return 0
	}
	return f.m.layout.MakePTEMarker(bits & keep)
}

// batch finds the entries from i on that map one large folio, as the kernel batches them: the child's are made from
// the first, writable if any was.
//
// Linux: mm/memory.c:copy_present_ptes() with folio_pte_batch()
func (f *forker) batch(c pgtable.PTECursor, i, last int) (int, x86.PTE) {
	first := c.Get(i)
	pfn, ok := f.m.normal(first)
	if !ok || f.m.folio(pfn).order == 0 {
		return 1, first
	}
	end := f.m.head(pfn) + x86.PFN(f.m.folioSize(pfn))
	n := 1
	for e := first; i+n <= last && pfn+x86.PFN(n) < end; n++ {
		e = e.AdvancePFN(1)
		next := c.Get(i + n)
		if f.batchBits(next) != f.batchBits(e) || next.PFN(f.m.abi) != pfn+x86.PFN(n) {
			break
		}
		if next.Write(f.m.abi) {
			first = first.MkWriteNoVMA()
		}
	}
	return n, first
}

// batchBits are the bits in which the entries of a batch must agree.
//
// Linux: mm/internal.h:__pte_batch_clear_ignored()
func (f *forker) batchBits(e x86.PTE) x86.PTE {
	e = e.MkOld().WrProtect(f.m.abi)
	if f.from.shared() {
		e = e.MkClean(f.m.abi)
	}
	if !f.from.softDirtyTracked() {
		e = e.ClearSoftDirty()
	}
	return e
}

// Exit ends a space: everything is unmapped and freed. CPUs that ran it run nothing.
//
// Linux: mm/mmap.c:exit_mmap()
func (s *Space) Exit(c *CPU) {
	s.writeLock()
	s.exit(c)
}

func (s *Space) exit(c *CPU) {
	g := c.gather(s)
	for _, v := range s.vmas {
		if err := s.zap(g, v, v.whole(), zapDropMarkers); err != nil {
			panic("mm: " + err.Error())
		}
		v.dropUffd()
	}
	g.Everything()
	g.finish()
	for _, o := range s.m.cpus {
		if o.space == s {
			o.space = nil
		}
	}
	s.m.forgetSpace(s)
	if err := s.tree.Close(); err != nil {
		panic("mm: " + err.Error())
	}
	s.exited, s.vmas = true, nil
	for i, o := range s.m.spaces {
		if o == s {
			s.m.spaces = append(s.m.spaces[:i], s.m.spaces[i+1:]...)
			break
		}
	}
	s.m.releaseFiles()
}
