//go:build linux && amd64

package kernel

import (
	"errors"
	"slices"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"
	"ptemu/litmus"
	"ptemu/swapentry"

	"golang.org/x/sys/unix"
)

// kpfCompound are pages of large folios.
const kpfCompound = kpfCompoundHead | kpfCompoundTail

// opReclaim takes pages out of memory whoever maps them. A page that stays is EBUSY.
func opReclaim(t *Target, c *litmus.Call, p *process) error {
	for i := range c.At.Pages {
		va := c.At.VA + x86.Virt(i)*x86.PageSize
		e, err := t.Entry(p.name, va)
		if err != nil {
			return err
		}
		if e.Page == nil {
			return unix.ENOENT
		}
		if err := t.reclaim(p, va, &e); err != nil {
			return err
		}
	}
	return nil
}

// reclaim tries to take one page out of memory: with MADV_PAGEOUT, and with DAMON what that would leave alone.
//
// Linux: mm/madvise.c:madvise_cold_or_pageout_pte_range(), mm/damon/paddr.c:damon_pa_pageout(), mm/vmscan.c:reclaim_pages()
func (t *Target) reclaim(p *process, va x86.Virt, e *litmus.Entry) error {
	if err := t.Settle(); err != nil {
		return err
	}
	count, err := t.k.word("/proc/kpagecount", e.PFN)
	if err != nil {
		return err
	}
	flags, err := t.k.word("/proc/kpageflags", e.PFN)
	if err != nil {
		return err
	}
	var used []use
	for i := range x86.PFN(1) << e.Page.Order {
		pfn := e.PFN&^(1<<e.Page.Order-1) + i
		used = append(used, t.usedAt(va+(x86.Virt(pfn)-x86.Virt(e.PFN))*x86.PageSize, pfn)...)
	}
	whole, alone := litmus.Span{VA: va, Pages: 1}, count == 1
	if flags&kpfCompound != 0 {
		if whole, alone, err = t.ownFolio(p, va, e); err != nil {
			return err
		}
	}
	switch {
	case alone:
		_, err = p.call(unix.SYS_MADVISE, uint64(whole.VA), whole.Bytes(), unix.MADV_PAGEOUT)
	case t.k.damon:
		err = t.k.pageOut(e.PFN)
	default:
		return NotHereError("only DAMON takes pages that several map, and the kernel has none")
	}
	if err != nil && !errors.Is(err, unix.EINVAL) { // a locked area
		return err
	}
	if err := t.useAgain(used); err != nil {
		return err
	}
	return t.stays(p, va, e, flags)
}

// ownFolio returns where all pages of the large folio of entry e, at va, are mapped, and whether MADV_PAGEOUT would take it
// there as a whole: nobody else maps it, it is all of it in one area, and its entries differ in no more than use and dirtiness.
//
// Linux: mm/madvise.c:madvise_folio_pte_batch()
func (t *Target) ownFolio(p *process, va x86.Virt, e *litmus.Entry) (s litmus.Span, own bool, err error) {
	n := 1 << e.Page.Order
	first := e.PFN &^ x86.PFN(n-1)
	s = litmus.Span{VA: va - x86.Virt(e.PFN-first)*x86.PageSize, Pages: n}
	area, ok, err := t.Area(p.name, va)
	if err != nil || !ok || s.VA < area.Start || s.VA+x86.Virt(s.Bytes()) > area.End {
		return s, false, err
	}
	for i := 0; i < n; i += maxWords {
		counts, err := t.k.words("/proc/kpagecount", uint64(first)+uint64(i), min(maxWords, n-i))
		if err != nil || slices.ContainsFunc(counts, func(c uint64) bool { return c != 1 }) {
			return s, false, err
		}
	}
	var same uint64
	for i := range n {
		raw, ok, err := t.maps(use{p, s.VA + x86.Virt(i)*x86.PageSize, first + x86.PFN(i)})
		if err != nil || !ok {
			return s, false, err
		}
		bits := x86.PTE(raw).MkOld().MkClean(t.k.abi).ClearSoftDirty().Flags(t.k.abi)
		if i == 0 {
			same = bits
		}
		if bits != same {
			return s, false, nil
		}
	}
	return s, true, nil
}

// use is an entry that has been used.
type use struct {
	p   *process
	va  x86.Virt
	pfn x86.PFN
}

// maps reports that the entry at the place maps the page.
func (t *Target) maps(u use) (raw uint64, ok bool, err error) {
	e, err := t.entry(u.p, u.va)
	if err != nil || t.k.layout.Decode(e.Level, e.Raw).Kind != swapentry.KindPresent {
		return 0, false, err
	}
	pfn, _ := t.pfnOf(&e)
	if e.Level == x86.LevelPMD {
		pfn += x86.PFN(u.va.Index(x86.LevelPTE))
	}
	return e.Raw, pfn == u.pfn, nil
}

// usedAt returns the entries at va that map the page and have been used, of all processes.
func (t *Target) usedAt(va x86.Virt, pfn x86.PFN) (used []use) {
	for _, p := range t.processes {
		u := use{p, va, pfn}
		if raw, ok, err := t.maps(u); err == nil && ok && raw&x86.PagePresent != 0 && raw&x86.PageAccessed != 0 {
			used = append(used, u)
		}
	}
	return used
}

// useAgain reads where pages are still mapped: the kernel's calls begin by making entries old, and what the language
// calls reclaim does not.
func (t *Target) useAgain(used []use) error {
	for _, u := range used {
		raw, ok, err := t.maps(u)
		if err != nil {
			return err
		}
		if !ok || raw&x86.PagePresent == 0 || raw&x86.PageAccessed != 0 {
			continue
		}
		if err := u.p.ring(wire.OpAccess, wire.Load, uint64(u.va), wire.Anything, 1, 1); err != nil {
			return err
		}
	}
	return nil
}

// stays returns EBUSY if the page of entry e, which had the flags of /proc/kpageflags, is still in its frame, or another of
// its folio.
func (t *Target) stays(p *process, va x86.Virt, e *litmus.Entry, before uint64) error {
	pfn := e.PFN
	first := pfn &^ (1<<e.Page.Order - 1)
	for i := range x86.PFN(1) << e.Page.Order {
		if _, ok, err := t.maps(use{p, va + (x86.Virt(first+i)-x86.Virt(pfn))*x86.PageSize, first + i}); err != nil {
			return err
		} else if ok {
			return unix.EBUSY
		}
	}
	now, err := t.k.word("/proc/kpageflags", pfn)
	if err != nil {
		return err
	}
	// What was freed may be something else by now.
	const kinds = kpfLRU | kpfAnon | kpfCompound
	same := now&kinds == before&kinds
	switch {
	case now&kpfSwapCache != 0, before&kpfAnon == 0 && same:
		return unix.EBUSY
	}
	return nil
}
