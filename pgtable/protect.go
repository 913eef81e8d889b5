package pgtable

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/physmem"
)

// Bitmap has one bit for each entry of a table.
type Bitmap = ptescan.Bitmap

// Exclusive tells which frames belong to one address space alone (PageAnonExclusive): bit i of Bits is frame Base+i.
type Exclusive = ptescan.Exclusive

// ErrQuestion: a change asks about pages, and nobody is there to answer.
var ErrQuestion = errors.New("a change that asks about pages needs Pages")

// Pages answers for the pages behind entries. It is asked under the lock of the entry's table, and only where the
// answer matters; it must not touch the tree.
type Pages interface {
	// Exclusive reports that the page is anonymous and exclusive: it may become writable without a fault. Frames
	// that [Exclusive] covers are not asked about.
	//
	// Linux: mm/mprotect.c:can_change_private_pte_writable()
	Exclusive(pfn x86.PFN) bool
	// Other returns what becomes of an entry that is neither a page nor empty and whose type is in SwapChange.Ask.
	Other(e x86.PTE) x86.PTE
	// Skip returns the entries, among first to last of c, that a NUMA hint leaves alone. It need only look at pages
	// with P.
	//
	// Linux: mm/mprotect.c:folio_can_map_prot_numa()
	Skip(c PTECursor, first, last int) Bitmap
}

// Folios knows the large folios of an area.
type Folios interface {
	// Folio returns the first frame of the folio that frame pfn belongs to, and its number of frames. It is 0 or 1
	// for a frame that is part of no large folio.
	Folio(pfn x86.PFN) (first x86.PFN, frames uint64)
}

// HugePMDs changes 2 MiB leaves and what stands in their place, which is package thp's business. Both methods lock the
// PMD table themselves.
type HugePMDs interface {
	// ChangePMD changes the whole of the slot at va. It returns the number of pages that the kernel counts: 512, or
	// 1 for "done, but do not count", or 0 if nothing huge is there any more.
	//
	// Linux: mm/huge_memory.c:change_huge_pmd()
	ChangePMD(g *Gather, va x86.Virt, p *Protection) (int, error)
	// SplitPMD puts a table, or nothing, in the place of what is huge at va.
	//
	// Linux: mm/huge_memory.c:__split_huge_pmd()
	SplitPMD(g *Gather, va x86.Virt) error
}

// ProtectionArgs are the arguments of change_protection() and what it finds out from its area.
type ProtectionArgs struct {
	Prot  x86.Prot
	Flags x86.ChangeFlags // not both ChangeUffdWP and ChangeUffdWPResolve
	// Swap is the change of entries that are not pages; swapentry.Layout.Change makes it. If it has something to
	// install in empty slots, missing tables are made. The zero value leaves them alone.
	Swap x86.SwapChange
	// Anonymous is vma_is_anonymous(). Elsewhere huge pages are split before userfaultfd protects them.
	Anonymous bool

	Exclusive Exclusive // may be empty
	Pages     Pages     // nil: no page is exclusive, none is skipped
	Folios    Folios    // nil: the area has no large folios
	Huge      HugePMDs  // nil: the area has no huge pages; meeting one is ErrHuge. See HugePUDs, too
}

// Protection is a change of protection, worked out for any number of ranges of one area. It is immutable.
type Protection struct {
	ProtectionArgs
	abi    *x86.ABI
	pte    x86.PTEChange
	change ptescan.Change // to be copied: see changing
	few    few
	merged x86.PTERuns // for batches

	populate bool // make missing tables
	split    bool // split huge pages, also those that are covered
	recounts bool // empty slots may be filled, others emptied
	stops    bool // x86.Kernel.ProtectStops
	retries  bool // x86.Kernel.ProtectRetries
	batches  bool // x86.Kernel.ProtectBatches, and there are large folios
	hints    bool // ChangeNUMA with somebody to ask
	bulk     bool // take the locks of many tables at once
}

// NewProtection works out a change. The error is ErrQuestion, or that of flags that contradict each other.
func NewProtection(a *x86.ABI, args ProtectionArgs) (*Protection, error) {
	wp := args.Flags&x86.ChangeUffdWP != 0
	if wp && args.Flags&x86.ChangeUffdWPResolve != 0 {
		return nil, errors.New("pgtable: a change cannot both begin and end a userfaultfd write protection")
	}
	if args.Pages == nil && args.Swap.Ask != 0 {
		return nil, fmt.Errorf("pgtable: %w: swap types %#x", ErrQuestion, args.Swap.Ask)
	}
	if args.Swap.TypeShift == 0 {
		args.Swap = x86.NewSwapChange()
	}
	p := &Protection{ProtectionArgs: args, abi: a, pte: a.Change(args.Prot, args.Flags)}
	k := a.Kernel()
	p.populate = args.Swap.Install != 0
	p.split = wp && !args.Anonymous
	p.recounts = args.Swap.Install != 0 || args.Swap.Drop != 0 || p.pte.Blank != 0
	p.stops, p.retries = k.ProtectStops, k.ProtectRetries
	p.batches = k.ProtectBatches && args.Folios != nil
	p.hints = args.Flags&x86.ChangeNUMA != 0 && args.Pages != nil
	p.bulk = !p.hints && !p.batches // which may take long for a table
	p.change = ptescan.NewChange(p.pte, &p.Swap, args.Exclusive)
	p.few, p.merged = p.newFew(), mergedRuns(a)
	return p, nil
}

// protector is one run of a change.
type protector struct {
	t     *Tree
	g     *Gather
	p     *Protection
	pages int64
}

// ChangeProtection changes the entries of r, which begins and ends at page boundaries, and returns how many the kernel
// would count: every page, changed or not, and other entries that changed. What processors may have cached is owed to
// g. Tables are locked one or a few at a time, so the range does not change at once.
//
// The error is physmem.ErrNoMemory if a table for markers could not be made (see x86.Kernel.ProtectStops),
// ErrHuge for a huge page without p.Huge, or p.Huge's own. Entries before stay changed, and are counted.
//
// Linux: mm/mprotect.c:change_protection(), change_pmd_range()
func (t *Tree) ChangeProtection(g *Gather, r Range, p *Protection) (pages int64, err error) {
	if p.few.fits(r) {
		if pages, done := p.changeFew(t, g, r); done {
			return pages, nil
		}
	}
	w := protector{t: t, g: g, p: p}
	if p.populate {
		err = w.populating(r)
	} else {
		err = t.eachPMDTable(r, false, func(s PMDSlot) error { return w.slot(&s) }, w.slots)
	}
	return w.pages, err
}

// slots changes the slots of PMD table pfn that r touches.
func (w *protector) slots(r Range, pfn x86.PFN) error {
	for r.First <= r.Last {
		if w.p.bulk {
			if r.First = w.bulk(r, pfn); r.First > r.Last {
				return nil
			}
		}
		part := Range{r.First, min(r.Last, r.First|x86.Virt(x86.LevelPMD.Size()-1))}
		if err := w.part(part, pfn, r.Last.Index(x86.LevelPMD)); err != nil {
			return err
		}
		r.First = part.Last + 1
	}
	return nil
}

// part changes the part of one slot of PMD table pfn. last is the last slot that will be changed.
func (w *protector) part(part Range, pfn x86.PFN, last int) error {
	t, tab, i := w.t, w.t.ram.Table(pfn), part.First.Index(x86.LevelPMD)
	e := loadEntry(&tab[i])
	if pointsToTable(x86.LevelPMD, e) {
		var ahead *physmem.Table
		if i < last {
			ahead = t.fetchTable(loadEntry(&tab[i+1]))
		}
		if c, ok := t.lockPTEs(t.abi.TableFrame(e), part.First); ok {
			w.pages += w.p.table(w.g, c, part.First.Index(x86.LevelPTE), part.Last.Index(x86.LevelPTE), ahead)
			c.Unlock()
			return nil
		}
	}
	return w.slot(&PMDSlot{Range: part, Level: x86.LevelPMD, Entry: x86.PMD(e), t: t, tab: tab, pfn: pfn, last: last})
}

// maxTries is how often p.Huge may say that nothing huge is in a slot that is neither empty nor a table. Other
// goroutines may change it in between, but not for ever.
const maxTries = 1 << 16

// slot changes what lies in one slot of a PMD table.
func (w *protector) slot(s *PMDSlot) error {
	for tries := 0; ; tries++ {
		switch {
		case s.Entry.None():
			return nil
		case s.Level != x86.LevelPMD:
			return w.pud(s)
		case !s.Entry.Present() || s.Entry.Leaf():
			if done, err := w.huge(s); done || err != nil {
				return err
			}
		}
		c, err := s.LockPTEs()
		if err == nil {
			first, last := s.Slots()
			w.pages += w.p.table(w.g, c, first, last, s.Next())
			c.Unlock()
			return nil
		}
		if !w.p.retries {
			return nil
		}
		if err == ErrHuge && tries == maxTries {
			return &AddrError{s.First, ErrHuge} // p.Huge does not know what this is
		}
	}
}

// huge changes slot s, which holds something huge, and reports whether that is all; else there may be a table now.
func (w *protector) huge(s *PMDSlot) (done bool, err error) {
	h := w.p.Huge
	if h == nil {
		return false, &AddrError{s.First, ErrHuge}
	}
	if s.Whole() && !w.p.split {
		n, err := h.ChangePMD(w.g, s.First, w.p)
		if err != nil {
			return false, &AddrError{s.First, err}
		}
		if n > 1 {
			w.pages += int64(n)
		}
		return n != 0, nil
	}
	if err := h.SplitPMD(w.g, s.First); err != nil {
		return false, &AddrError{s.First, err}
	}
	return false, w.prepare(s)
}

// prepare makes a PTE table for an empty slot, if that is wanted.
//
// Linux: mm/mprotect.c:change_pmd_prepare()
func (w *protector) prepare(s *PMDSlot) error {
	if w.p.populate {
		if err := s.Populate(); err != nil && w.p.stops {
			return &AddrError{s.First, err}
		}
		s.Reload()
	}
	return nil
}
