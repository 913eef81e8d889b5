//go:build linux && amd64

package kernel

import (
	"errors"
	"fmt"
	"strconv"

	"ptemu/arch/x86"
	"ptemu/conformance/vm"
	"ptemu/conformance/wire"
	"ptemu/litmus"
	"ptemu/swapentry"

	"golang.org/x/sys/unix"
)

// kpfCompound are pages of large folios.
const kpfCompound = kpfCompoundHead | kpfCompoundTail

const damonFolder = "/sys/kernel/mm/damon/admin/kdamonds/"

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
	switch alone := count == 1 && flags&kpfCompound == 0; {
	case alone:
		_, err = p.call(unix.SYS_MADVISE, uint64(va), x86.PageSize, unix.MADV_PAGEOUT)
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
	return t.stays(p, va, e.PFN, flags)
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

// stays returns EBUSY if a page, which had the flags of /proc/kpageflags, is still in its frame.
func (t *Target) stays(p *process, va x86.Virt, pfn x86.PFN, before uint64) error {
	if _, ok, err := t.maps(use{p, va, pfn}); err != nil {
		return err
	} else if ok {
		return unix.EBUSY
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

// damonContext is the one that is set up: it watches all memory, and applies its scheme to what the filters leave.
const (
	damonContext = damonFolder + "0/contexts/0/"
	damonScheme  = damonContext + "schemes/0/"
	damonBelow   = damonScheme + "filters/0/"
	damonAbove   = damonScheme + "filters/1/"
)

// damonSetUp asks for one scheme: page out what is at some physical addresses, soon. DAMON clears the accessed bit of a
// page here and there to see who uses it; in all of memory it seldom meets one of the program's.
//
// Linux: Documentation/admin-guide/mm/damon/usage.rst
var damonSetUp = []struct{ file, text string }{
	{damonFolder + "nr_kdamonds", "1"},
	{damonFolder + "0/contexts/nr_contexts", "1"},
	{damonContext + "operations", "paddr"},
	{damonContext + "monitoring_attrs/intervals/sample_us", "4000"},
	{damonContext + "monitoring_attrs/intervals/aggr_us", "4000"},
	{damonContext + "targets/nr_targets", "1"},
	{damonContext + "targets/0/regions/nr_regions", "1"},
	{damonContext + "targets/0/regions/0/end", strconv.Itoa(vm.MemoryBytes)},
	{damonContext + "schemes/nr_schemes", "1"},
	{damonScheme + "action", "pageout"},
	{damonScheme + "apply_interval_us", "200000"}, // slow enough to be stopped after the look that counts
	{damonScheme + "access_pattern/sz/max", "1000000000"},
	{damonScheme + "access_pattern/nr_accesses/max", "1000000000"},
	{damonScheme + "access_pattern/age/max", "1000000000"},
	{damonScheme + "filters/nr_filters", "2"},
	{damonBelow + "type", "addr"},
	{damonBelow + "matching", "Y"},
	{damonBelow + "addr_start", "0"},
	{damonAbove + "type", "addr"},
	{damonAbove + "matching", "Y"},
	{damonAbove + "addr_end", strconv.Itoa(vm.MemoryBytes)},
}

// pageOut has DAMON take a frame out of memory. It leaves a page alone that was used since it looked last, so it is the
// second look that counts.
func (k *Kernel) pageOut(pfn x86.PFN) error {
	for _, s := range damonSetUp {
		if err := k.write(s.file, s.text); err != nil {
			return fmt.Errorf("%s: %v", s.file, err)
		}
	}
	const looks = 2
	start := uint64(pfn) * x86.PageSize
	err := errors.Join(k.write(damonBelow+"addr_end", fmt.Sprint(start)), k.write(damonAbove+"addr_start", fmt.Sprint(start+x86.PageSize)),
		k.write(damonFolder+"0/state", "on"))
	if err != nil {
		return fmt.Errorf("DAMON: %v", err)
	}
	err = k.until("DAMON's turn", func() (bool, error) {
		if err := k.write(damonFolder+"0/state", "update_schemes_stats"); err != nil {
			return false, err
		}
		n, err := k.number(damonScheme + "stats/nr_tried")
		return n >= looks, err
	})
	return errors.Join(err, k.write(damonFolder+"0/state", "off"), k.write(damonFolder+"nr_kdamonds", "0"))
}
