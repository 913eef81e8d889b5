package litmus

import (
	"bytes"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/mm"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Entry implements [Target].
func (e *Emulator) Entry(name string, va x86.Virt) (Entry, error) {
	p := e.spaces[name]
	if p == nil {
		return Entry{}, fmt.Errorf("there is no process %s any more", name)
	}
	v := Entry{Level: x86.LevelPTE, FlushPending: p.space.FlushPending()}
	for _, w := range p.space.Tree().Walk(va, nil) {
		v.Level, v.Raw = w.Level, w.Value
	}
	if v.Level > x86.LevelPMD { // no table at all
		v.Level, v.Raw = x86.LevelPTE, 0
	}
	if v.Level == x86.LevelPMD && v.Raw == 0 {
		v.Level = x86.LevelPTE
	}
	if pfn, ok := pfnOf(e.m, &v); ok {
		if v.Level == x86.LevelPMD {
			pfn += x86.PFN(va.Index(x86.LevelPTE))
		}
		v.PFN, v.Page = pfn, e.page(pfn)
	}
	return v, nil
}

// pfnOf returns the frame that an entry names: of a page, or of one that is on its way.
func pfnOf(m *mm.Machine, v *Entry) (x86.PFN, bool) {
	d := m.Layout().Decode(v.Level, v.Raw)
	switch {
	case d.Kind != swapentry.KindPresent:
		return d.PFN, d.Kind.HasPFN()
	case v.Level == x86.LevelPMD:
		return x86.PMD(v.Raw).PFN(m.ABI()), true
	}
	return x86.PTE(v.Raw).PFN(m.ABI()), true
}

func (e *Emulator) page(pfn x86.PFN) *Page {
	i, ok := e.m.Page(pfn)
	if !ok {
		return nil
	}
	b := e.m.RAM().Frame(pfn)
	return &Page{
		Mapcount: i.Mapcount, Refs: i.Refs, Exclusive: i.Exclusive, Anon: i.Anon, KSM: i.KSM, Zero: i.Zero, Pinned: i.Pinned,
		SwapCached: i.SwapCached, Dirty: i.Dirty, Order: int(i.Order), Node: int(i.Node), Contents: b[0],
		Uniform: bytes.Count(b[:], b[:1]) == len(b), ContentsAreKnown: true,
	}
}

// Area implements [Target].
func (e *Emulator) Area(name string, va x86.Virt) (Area, bool, error) {
	p := e.spaces[name]
	if p == nil {
		return Area{}, false, fmt.Errorf("there is no process %s any more", name)
	}
	v := p.space.VMA(va)
	if v == nil {
		return Area{}, false, nil
	}
	return Area{v.Start, v.End, mm.VMFlagNames(v.Flags()), uint64(v.PageProt())}, true, nil
}

// Verify implements [Target].
func (e *Emulator) Verify() error { return e.m.Check() }

// user returns the addresses of the lower half.
func user(s *mm.Space) pgtable.Range { return pgtable.Range{Last: s.Tree().Limit() - 1} }

// NotHere implements [Target].
func (e *Emulator) NotHere(op *Op) string {
	lacks := func(has bool, what string) string {
		if has {
			return ""
		}
		return what
	}
	p := &e.m.Policy
	switch op.Verb {
	case "uffd":
		if op.Has("wp-unpopulated") && !p.UffdWPUnpopulated {
			return "no UFFD_FEATURE_WP_UNPOPULATED"
		}
		return lacks(!op.Has("wp-async") || p.UffdWPAsync, "no UFFD_FEATURE_WP_ASYNC")
	case "uffd-poison":
		return lacks(p.UffdPoison, "no UFFDIO_POISON")
	case "uffd-move":
		return lacks(p.UffdMove, "no UFFDIO_MOVE")
	case "scan-protect":
		return lacks(p.UffdWPAsync, "no PAGEMAP_SCAN")
	case "advise":
		if op.Has("guard-install") || op.Has("guard-remove") {
			return lacks(p.GuardMarkers, "no guard pages")
		}
	}
	return ""
}

// Pagemap implements [Target].
func (e *Emulator) Pagemap(name string, va x86.Virt) ([]string, error) {
	p := e.spaces[name]
	if p == nil {
		return nil, fmt.Errorf("there is no process %s any more", name)
	}
	w := p.space.Pagemap(va, 1)[0].Parts()
	return PagemapNames(w), nil
}

// Scan implements [Target].
func (e *Emulator) Scan(name string, va x86.Virt) ([]string, error) {
	p := e.spaces[name]
	if p == nil {
		return nil, fmt.Errorf("there is no process %s any more", name)
	}
	all := mm.PageSoftDirty<<1 - 1
	if e.m.Policy.GuardMarkers {
		all |= mm.PageGuard
	}
	r, err := p.space.PagemapScan(e.m.CPU(p.cpu), mm.ScanArgs{Start: va, End: va + x86.PageSize, Regions: 1, Return: all})
	if err != nil || len(r.Regions) == 0 {
		return nil, err
	}
	return ScanNames(uint64(r.Regions[0].Categories)), nil
}
