package thp

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// CopiedPMD returns what fork gives to the child for the huge entry e, and what it leaves in the parent. With ok false
// the child gets nothing: pages of files are mapped again by faults. keepUffd: the child keeps the userfaultfd write
// protection. That a pinned page must be split first is not part of it.
//
// Linux: mm/huge_memory.c:copy_huge_pmd(), copy_huge_non_present_pmd()
func (v *Area) CopiedPMD(e x86.PMD, keepUffd bool) (child, parent x86.PMD, ok bool) {
	a := v.abi()
	switch {
	case v.foreign(e):
		return e.MkOld(), e, true
	case !v.Anon:
		return 0, e, false
	case !e.Present():
		parent = v.sharedSwap(e)
		child = parent
		if !keepUffd {
			child = swapentry.SwpClearUffdWP(child)
		}
		return child, parent, true
	}
	parent = e.WrProtect(a)
	child = parent.MkOld()
	if !keepUffd {
		child = child.ClearUffdWP()
	}
	return child, parent, true
}

// foreign reports a leaf without a page behind it that could be shared or counted.
func (v *Area) foreign(e x86.PMD) bool {
	return e.Present() && e.Special(v.abi()) && !v.zeroLeaf(e)
}

// sharedSwap is an entry that is not present when parent and child share its page.
func (v *Area) sharedSwap(e x86.PMD) x86.PMD {
	l := v.Layout
	s := l.FromPMD(e)
	to := l.Types().MigrationRead
	switch {
	case s.WritableMigration(l), s.ReadableExclusiveMigration(l):
	case l.PMDDevicePrivate(e) && s.WritableDevicePrivate(l):
		to = l.Types().DevicePrivateRead
	default:
		return e
	}
	return keepFlags(swapentry.MkSwp(to, s.Offset()).PMD(), e, true, true)
}

// copier copies huge entries of one area to the tree of a child.
type copier struct {
	*Huge
	g    *pgtable.Gather
	dst  *pgtable.Tree
	o    pgtable.Copy
	dups func(va x86.Virt, pfn x86.PFN)
}

// Copier returns what [pgtable.Tree.Copy] does with huge pages, for the child's tree dst and the other fields of o.
// Of each page that the child maps too, shared hears, if it is not nil, under the locks of both PMD tables: it is not
// exclusive any more. A page that is pinned and exclusive is split, and its PTEs are copied. The flush of leaves that
// lost write permission is owed to g, the parent's.
//
// Linux: mm/huge_memory.c:copy_huge_pmd(), copy_huge_pud()
func (h *Huge) Copier(g *pgtable.Gather, dst *pgtable.Tree, o pgtable.Copy, shared func(va x86.Virt, pfn x86.PFN)) pgtable.HugeFunc {
	c := copier{h, g, dst, o, shared}
	return c.slot
}

func (k *copier) slot(s pgtable.PMDSlot) (split bool, err error) {
	if s.Level == x86.LevelPUD {
		return false, k.copyPUD(s)
	}
	if !s.Whole() {
		return true, k.SplitPMD(k.g, s.First) // forks copy whole areas, and these end where leaves do
	}
	split, err = k.copyPMD(s)
	if errors.Is(err, ErrPinned) {
		return true, k.SplitPMD(k.g, s.First)
	}
	return split, err
}

// copyPMD copies the entry of s. On true nothing huge is there any more.
func (k *copier) copyPMD(s pgtable.PMDSlot) (gone bool, err error) {
	var table x86.PFN
	if k.Anon {
		if table, err = k.dst.AllocTable(); err != nil {
			return false, &Error{VA: s.First, PMD: s.Entry, Err: err}
		}
	}
	deposited := false
	defer func() {
		if k.Anon && !deposited {
			k.dst.FreeTable(table)
		}
	}()
	c, err := s.LockPMDs()
	if err != nil {
		return false, &Error{VA: s.First, Err: err}
	}
	defer c.Unlock()
	e := c.Get(s.Index())
	if !hugeEntry(e) {
		return true, nil
	}
	child, parent, ok := k.CopiedPMD(e, k.o.KeepUffd)
	if !ok {
		return false, nil
	}
	deposited, err = k.store(c, s, e, child, parent, table)
	return false, err
}

// store puts child and parent in their places, and the table with the child.
func (k *copier) store(c pgtable.PMDCursor, s pgtable.PMDSlot, e, child, parent x86.PMD, table x86.PFN) (deposited bool, err error) {
	i := s.Index()
	d, err := k.dst.LockPMDs(s.First, true)
	if err != nil {
		return false, &Error{VA: s.First, PMD: e, Err: err}
	}
	defer d.Unlock()
	if old := d.Get(i); !old.None() {
		return false, &Error{VA: s.First, PMD: old, Err: ErrOccupied}
	}
	if err := k.share(s.First, e); err != nil {
		return false, err
	}
	if k.deposits(child) {
		d.Deposit(table)
		deposited = true
	}
	if parent != e {
		c.Set(i, parent)
		if e.Present() {
			k.g.Range(s.Range, x86.LevelPMD)
		}
	}
	d.Set(i, child)
	return deposited, nil
}

// share has the page behind e shared, or fails with ErrPinned.
//
// Linux: include/linux/rmap.h:folio_try_dup_anon_rmap_pmd()
func (k *copier) share(va x86.Virt, e x86.PMD) error {
	l := k.Layout
	var pfn x86.PFN
	switch {
	case k.zeroLeaf(e), k.foreign(e), l.PMDMigration(e):
		return nil
	case e.Present():
		pfn = e.PFN(k.abi())
		if p := k.page(pfn); p.Exclusive && p.Pinned {
			return &Error{VA: va, PMD: e, Err: ErrPinned}
		}
	default:
		pfn = l.FromPMD(e).PFN(l)
	}
	if k.dups != nil {
		k.dups(va, pfn)
	}
	return nil
}

// copyPUD copies a 1 GiB leaf.
//
// Linux: mm/huge_memory.c:copy_huge_pud()
func (k *copier) copyPUD(s pgtable.PMDSlot) error {
	if !s.Whole() {
		return k.SplitPUD(k.g, s.First)
	}
	if err := k.makePUDs(s.First); err != nil {
		return pudError(s.First, x86.PUD(s.Entry), err)
	}
	t := k.g.Tree()
	c, err := t.LockPUDs(s.First, false)
	if err != nil {
		return pudError(s.First, 0, err)
	}
	defer c.Unlock()
	d, err := k.dst.LockPUDs(s.First, false)
	if err != nil {
		return pudError(s.First, 0, err)
	}
	defer d.Unlock()
	i := s.Index()
	e := c.Get(i)
	switch old := d.Get(i); {
	case !hugePUD(e):
		return nil
	case !old.None():
		return pudError(s.First, old, ErrOccupied)
	}
	child, parent := k.CopiedPUD(e, k.o.COW)
	if parent != e {
		c.Set(i, parent)
		k.g.Range(s.Range, x86.LevelPUD)
	}
	d.Set(i, child)
	return nil
}

// makePUDs makes the child's PUD table, which must not be done under the parent's lock.
func (k *copier) makePUDs(va x86.Virt) error {
	d, err := k.dst.LockPUDs(va, true)
	if err == nil {
		d.Unlock()
	}
	return err
}
