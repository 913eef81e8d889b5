package thp

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// ChangeArgs is a change of protection, and what of it depends on the page.
type ChangeArgs struct {
	Prot  x86.Prot
	Flags x86.ChangeFlags
	// Anon says that the page behind a migration entry is anonymous.
	Anon bool
	// Exclusive says that the page behind a leaf is anonymous and exclusive. Only asked for x86.UpgradeAsk.
	Exclusive func(pfn x86.PFN) bool
}

// ChangedPMD returns what a change of protection makes of e, which is huge, and what the kernel's function returns: 1
// or [Pages]. The NUMA filter of the page is not part of it, that of the PMD is.
//
// Linux: mm/huge_memory.c:change_huge_pmd(), change_non_present_huge_pmd()
func (v *Area) ChangedPMD(e x86.PMD, c ChangeArgs) (x86.PMD, int) {
	if !e.Present() {
		return v.changedSwap(e, c), 1
	}
	if c.Flags&x86.ChangeNUMA != 0 && (v.zeroLeaf(e) || e.Protnone()) {
		return e, 1
	}
	a := v.abi()
	n := a.ChangePMD(e, c.Prot, c.Flags)
	switch a.PMDUpgrade(n, c.Flags) {
	case x86.UpgradeAll:
		n = a.PMDUpgraded(n, c.Flags)
	case x86.UpgradeAsk:
		if !v.zeroLeaf(n) && !n.Special(a) && c.Exclusive != nil && c.Exclusive(n.PFN(a)) {
			n = a.PMDUpgraded(n, c.Flags)
		}
	}
	return n, Pages
}

// changedSwap is [Area.ChangedPMD] for a PMD that is not present.
func (v *Area) changedSwap(e x86.PMD, c ChangeArgs) x86.PMD {
	l := v.Layout
	s := l.FromPMD(e)
	n := e
	switch {
	case s.WritableMigration(l):
		to := l.Types().MigrationRead
		if c.Anon {
			to = l.Types().MigrationReadExclusive
		}
		n = keepFlags(swapentry.MkSwp(to, s.Offset()).PMD(), e, true, !v.abi().Kernel().UffdWPProtects)
	case l.PMDDevicePrivate(e) && s.WritableDevicePrivate(l):
		n = keepFlags(swapentry.MkSwp(l.Types().DevicePrivateRead, s.Offset()).PMD(), e, false, true)
	}
	switch {
	case c.Flags&x86.ChangeUffdWP != 0:
		n = swapentry.SwpMkUffdWP(n)
	case c.Flags&x86.ChangeUffdWPResolve != 0:
		n = swapentry.SwpClearUffdWP(n)
	}
	return n
}

// keepFlags copies flags of the swap form from old to n.
func keepFlags(n, old x86.PMD, softDirty, uffdWP bool) x86.PMD {
	if softDirty && swapentry.SwpSoftDirty(old) {
		n = swapentry.SwpMkSoftDirty(n)
	}
	if uffdWP && swapentry.SwpUffdWP(old) {
		n = swapentry.SwpMkUffdWP(n)
	}
	return n
}

// Huge is what [pgtable.Tree.ChangeProtection] needs to know about the huge pages of an area.
type Huge struct {
	*Area
	// Page answers for the page behind a PMD: the first frame, also of an entry that is not present.
	Page func(pfn x86.PFN) Page
	// Skip reports that a NUMA hint leaves the huge page at va alone. nil: never.
	Skip func(va x86.Virt, e x86.PMD) bool
	// Split, if not nil, hears what a split found.
	Split func(va x86.Virt, r SplitResult)
	// Cleared, if not nil, hears of 1 GiB leaves that were unmapped or split, which comes to the same.
	Cleared func(va x86.Virt, old x86.PUD)
}

var _ pgtable.HugePMDs = (*Huge)(nil)

// ChangePMD implements [pgtable.HugePMDs].
//
// Linux: mm/huge_memory.c:change_huge_pmd()
func (h *Huge) ChangePMD(g *pgtable.Gather, va x86.Virt, p *pgtable.Protection) (int, error) {
	c, err := g.Tree().LockPMDs(va, false)
	if err != nil {
		return 0, err
	}
	defer c.Unlock()
	i := va.Index(x86.LevelPMD)
	e := c.Get(i)
	if !hugeEntry(e) {
		return 0, nil
	}
	args := ChangeArgs{Prot: p.Prot, Flags: p.Flags}
	switch {
	case !e.Present():
		args.Anon = h.page(h.Layout.FromPMD(e).PFN(h.Layout)).Anon
	case p.Flags&x86.ChangeNUMA != 0 && h.Skip != nil && !e.Protnone() && !h.zeroLeaf(e) && h.Skip(va, e):
		return 1, nil
	default:
		args.Exclusive = func(pfn x86.PFN) bool {
			page := h.page(pfn)
			return page.Anon && page.Exclusive
		}
	}
	return h.store(g, c, i, e, args)
}

// store changes e, entry i of c.
func (h *Huge) store(g *pgtable.Gather, c pgtable.PMDCursor, i int, e x86.PMD, args ChangeArgs) (int, error) {
	n, count := h.ChangedPMD(e, args)
	if !e.Present() {
		if n != e {
			c.Set(i, n)
		}
		return count, nil
	}
	if count != Pages {
		return count, nil
	}
	if h.traps(e, n, args.Flags) {
		return 0, &Error{VA: c.Addr(i), PMD: n, Err: ErrWritable}
	}
	e = c.InvalidateAD(i)
	c.Set(i, n)
	if x86.HugePMDNeedsFlush(h.abi(), e, n) {
		g.Range(span(c.Addr(i)), x86.LevelPMD)
	}
	return count, nil
}

// traps reports that the kernel would stop over n, the new value of e: one that never makes a leaf writable insists
// that none is, but for a NUMA hint. It stops when n is in place already; here nothing is stored.
//
// Linux 6.1: mm/huge_memory.c:change_huge_pmd(), the BUG_ON() at its end
func (h *Huge) traps(e, n x86.PMD, f x86.ChangeFlags) bool {
	a := h.abi()
	kept := f&x86.ChangeNUMA != 0 && e.Write(a)
	return !a.Kernel().HugeUpgrade && h.Anon && !kept && n.Write(a)
}

func (h *Huge) page(pfn x86.PFN) Page {
	if h.Page == nil {
		return Page{Anon: h.Anon}
	}
	return h.Page(pfn)
}

// SplitPMD implements [pgtable.HugePMDs].
func (h *Huge) SplitPMD(g *pgtable.Gather, va x86.Virt) error {
	r, err := h.Area.splitAt(g.Tree(), va, h.page, false)
	if err == nil && r.Split && h.Split != nil {
		h.Split(va, r)
	}
	return err
}
