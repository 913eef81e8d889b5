package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
	"ptemu/thp"
)

// table scans the slots of r, all in the table of c.
//
// Linux: fs/proc/task_mmu.c:pagemap_scan_pmd_entry()
func (w *scan) table(c pgtable.PTECursor, r pgtable.Range) error {
	var changed pgtable.Range
	defer func() {
		if changed.Last != 0 {
			w.flush(changed, x86.LevelPTE)
		}
	}()
	// Without an answer, all that is not protected is, whatever was asked for.
	all := w.Flags&ScanWPMatching != 0 && w.Regions == 0
	for va := r.First; ; va += x86.PageSize {
		i := va.Index(x86.LevelPTE)
		e := c.Get(i)
		of := w.area | w.page(e)
		var err error
		if all || w.interesting(of) {
			last := va + x86.PageSize - 1
			var end x86.Virt
			if end, err = w.output(of, pgtable.Range{First: va, Last: last}); end > va && w.protects(of) {
				c.Set(i, w.protected(e))
				if changed.Last == 0 {
					changed.First = va
				}
				changed.Last = last
			}
		}
		if err != nil || va+x86.PageSize > r.Last {
			return err
		}
	}
}

// page returns the categories of a page, by its entry. A slot that is empty counts as written.
//
// Linux: fs/proc/task_mmu.c:pagemap_page_category()
func (w *scan) page(e x86.PTE) (c Category) {
	m := w.m
	switch {
	case e.None():
		return PageWritten
	case e.Present():
		c = PagePresent | when(!e.UffdWP(), PageWritten) | when(e.PFN(m.abi) == m.zero, PageZero) | when(e.SoftDirty(), PageSoftDirty)
		if pfn, ok := m.normal(e); ok {
			c |= when(!m.anonPage(pfn), PageFile)
		}
		return c
	}
	d := m.layout.Decode(x86.LevelPTE, uint64(e))
	if d.Marker&swapentry.MarkerGuard != 0 {
		return PageSwapped | PageWritten | PageGuard | when(d.SoftDirty, PageSoftDirty)
	}
	c = PageSwapped | when(!m.layout.PTESwpUffdWPAny(e), PageWritten) | when(d.SoftDirty, PageSoftDirty)
	if d.Kind.HasPFN() {
		c |= when(!m.anonPage(d.PFN), PageFile)
	}
	return c
}

func when(is bool, c Category) Category {
	if is {
		return c
	}
	return 0
}

// protected returns an entry write-protected through userfaultfd. Linux: fs/proc/task_mmu.c:make_uffd_wp_pte()
func (w *scan) protected(e x86.PTE) x86.PTE {
	switch {
	case e.None():
		return w.m.layout.MakePTEMarker(swapentry.MarkerUffdWP)
	case e.Present():
		return e.MkUffdWP(w.m.abi)
	}
	return swapentry.SwpMkUffdWP(e)
}

// hole scans r, which has no table.
//
// Linux: fs/proc/task_mmu.c:pagemap_scan_pte_hole()
func (w *scan) hole(r pgtable.Range) error {
	c := w.area | when(w.v.flags&VMUffdWP != 0, PageWritten)
	if !w.interesting(c) {
		return nil
	}
	end, err := w.output(c, r)
	if end == r.First || w.Flags&ScanWPMatching == 0 {
		return err
	}
	if e := w.s.uffdWPRange(w.c, w.v, pgtable.Range{First: r.First, Last: end - 1}, true); e != nil {
		return e
	}
	return err
}

// huge scans r, where e, a huge page or what stands for one, is. It reports that e was split, and nothing done.
//
// Linux: fs/proc/task_mmu.c:pagemap_scan_thp_entry()
func (w *scan) huge(r pgtable.Range, e x86.PMD) (again bool, err error) {
	c := w.area | w.hugePage(e)
	if !w.interesting(c) {
		return false, nil
	}
	end, err := w.output(c, r)
	if end == r.First || !w.protects(c) {
		return false, err
	}
	if end-r.First != thp.Pages*x86.PageSize {
		w.backOut(r.First, end)
		return true, w.c.splitHugePMD(w.v, r.First)
	}
	p, lockErr := w.s.tree.LockPMDs(r.First, false)
	if lockErr != nil {
		return false, lockErr
	}
	defer p.Unlock()
	i := r.First.Index(x86.LevelPMD)
	if e.Present() {
		e = p.InvalidateAD(i)
	}
	p.Set(i, w.v.area().UffdWPPMD(e))
	w.flush(r, x86.LevelPMD)
	return false, err
}

// hugePage is page for a huge page. Linux: fs/proc/task_mmu.c:pagemap_thp_category()
func (w *scan) hugePage(e x86.PMD) (c Category) {
	m := w.m
	if e.Present() {
		c = PageHuge | PagePresent | when(!e.UffdWP(), PageWritten) | when(e.SoftDirty(), PageSoftDirty)
		c |= when(m.huge != 0 && e.PFN(m.abi) == m.huge, PageZero)
		if pfn, ok := m.normalPMD(e); ok {
			c |= when(!m.anonPage(pfn), PageFile)
		}
		return c
	}
	d := m.layout.Decode(x86.LevelPMD, uint64(e))
	c = PageHuge | PageSwapped | when(!d.UffdWP, PageWritten) | when(d.SoftDirty, PageSoftDirty)
	if d.Kind.HasPFN() {
		c |= when(!m.anonPage(d.PFN), PageFile)
	}
	return c
}
