package litmus

import (
	"fmt"
	"slices"
	"strings"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// expect checks what a step expects, page by page.
func (r *runner) expect(s *Step) {
	at := r.span(s.Op.At)
	for i := range at.Pages {
		va := at.VA + x86.Virt(i)*x86.PageSize
		e, err := r.t.Entry(s.Proc(), va)
		if err != nil {
			r.failf(s.Pos, "%v", err)
			return
		}
		c := &checker{r: r, s: s, page: i, va: va, e: &e, d: r.d.decode(&e)}
		for k := range s.Items {
			it := &s.Items[k]
			if !r.sees(it.Name) {
				continue
			}
			ok, found, err := c.item(it)
			if err != nil {
				r.failf(it.Pos, "%s: %v", pageName(s.Op.At, i), err)
				return
			}
			if ok == it.Not {
				r.failf(it.Pos, "%s is %s: %s", pageName(s.Op.At, i), found, r.d.describe(&e))
				return // the other pages would say the same
			}
		}
	}
}

// checker checks one page.
type checker struct {
	r    *runner
	s    *Step
	page int
	va   x86.Virt
	e    *Entry
	d    swapentry.Entry
}

// item reports whether the item is there, and what is, in words that fit "is".
func (c *checker) item(it *Item) (ok bool, found string, err error) {
	found = "not " + it.Name
	if it.Not {
		found = it.Name
	}
	switch itemByName[it.Name].kind {
	case itemNum:
		return c.number(it)
	case itemList:
		return c.list(it)
	case itemMark, itemPlace:
		return c.frame(it)
	}
	if f, known := kindItems[it.Name]; known {
		return f(c), found, nil
	}
	if f, known := pageItems[it.Name]; known {
		return c.e.Page != nil && f(c.e.Page), found, nil
	}
	if it.Name == "flush-pending" {
		return c.e.FlushPending, found, nil
	}
	flags := c.r.d.flags(c.e)
	return slices.Contains(flags, it.Name), found, nil
}

func (c *checker) present() bool { return c.d.Kind == swapentry.KindPresent }

func kindIs(k swapentry.Kind) func(*checker) bool {
	return func(c *checker) bool { return c.d.Kind == k }
}

func migrationIs(a swapentry.Access) func(*checker) bool {
	return func(c *checker) bool { return c.d.Kind == swapentry.KindMigration && c.d.Access == a }
}

func markerHas(m swapentry.Marker) func(*checker) bool {
	return func(c *checker) bool { return c.d.Kind == swapentry.KindMarker && c.d.Marker&m != 0 }
}

// kindItems are the items that say what an entry is.
var kindItems = map[string]func(*checker) bool{
	"none":                     kindIs(swapentry.KindNone),
	"present":                  (*checker).present,
	"swap":                     kindIs(swapentry.KindSwap),
	"migration":                kindIs(swapentry.KindMigration),
	"migration-read":           migrationIs(swapentry.AccessRead),
	"migration-read-exclusive": migrationIs(swapentry.AccessReadExclusive),
	"migration-write":          migrationIs(swapentry.AccessWrite),
	"marker":                   kindIs(swapentry.KindMarker),
	"marker-uffd-wp":           markerHas(swapentry.MarkerUffdWP),
	"marker-poisoned":          markerHas(swapentry.MarkerPoisoned),
	"marker-guard":             markerHas(swapentry.MarkerGuard),
	"hwpoison":                 kindIs(swapentry.KindHWPoison),
	"swapin-error":             kindIs(swapentry.KindSwapinError),
	"device-private":           kindIs(swapentry.KindDevicePrivate),
	"device-exclusive":         kindIs(swapentry.KindDeviceExclusive),
	"zero-page":                func(c *checker) bool { return c.present() && c.e.Page != nil && c.e.Page.Zero },
	"huge":                     func(c *checker) bool { return c.e.Level > x86.LevelPTE && c.d.Kind != swapentry.KindNone },
	"protnone":                 func(c *checker) bool { return c.present() && x86.PTE(c.e.Raw).Protnone() },
	"swp-write":                func(c *checker) bool { return c.d.Write },
	"swp-young":                func(c *checker) bool { return c.d.Young },
	"swp-dirty":                func(c *checker) bool { return c.d.Dirty },
}

// pageItems are the items that say what the page is.
var pageItems = map[string]func(*Page) bool{
	"anon-exclusive": func(p *Page) bool { return p.Exclusive },
	"anon":           func(p *Page) bool { return p.Anon },
	"ksm":            func(p *Page) bool { return p.KSM },
	"pinned":         func(p *Page) bool { return p.Pinned },
	"swap-cached":    func(p *Page) bool { return p.SwapCached },
	"page-dirty":     func(p *Page) bool { return p.Dirty },
}

// number compares what has a number.
func (c *checker) number(it *Item) (bool, string, error) {
	switch it.Name {
	case "value":
		return c.value(it)
	case "vm-page-prot", "areas":
		return c.area(it)
	case "pkey":
		n := x86.PTE(c.e.Raw).Pkey()
		return c.present() && uint64(n) == it.Num, fmt.Sprintf("pkey %d", n), nil
	}
	if c.e.Page == nil {
		return false, "no page", nil
	}
	if it.Name == "contents" {
		if !c.e.Page.Uniform {
			return false, fmt.Sprintf("of many bytes, %d first", c.e.Page.Contents), nil
		}
		return uint64(c.e.Page.Contents) == it.Num, fmt.Sprintf("contents %d", c.e.Page.Contents), nil
	}
	n := map[string]int{
		"mapcount": c.e.Page.Mapcount, "refs": c.e.Page.Refs, "order": c.e.Page.Order, "node": c.e.Page.Node,
	}[it.Name]
	return n >= 0 && uint64(n) == it.Num, fmt.Sprintf("%s %d", it.Name, n), nil
}

// value compares all of an entry but the frame or slot that it names.
func (c *checker) value(it *Item) (bool, string, error) {
	want := &Entry{Level: c.e.Level, Raw: it.Num}
	return c.r.d.bare(c.e) == c.r.d.bare(want), fmt.Sprintf("0x%016x", c.e.Raw), nil
}

func (c *checker) area(it *Item) (bool, string, error) {
	if it.Name == "areas" {
		if c.page > 0 {
			return !it.Not, "", nil // a matter of the whole range
		}
		n, err := c.areas()
		return uint64(n) == it.Num, fmt.Sprintf("in %d areas", n), err
	}
	a, ok, err := c.r.t.Area(c.s.Proc(), c.va)
	return ok && a.Prot == it.Num, fmt.Sprintf("in an area with vm_page_prot 0x%016x", a.Prot), err
}

// areas counts the areas that the range touches.
func (c *checker) areas() (n int, err error) {
	at := c.r.span(c.s.Op.At)
	for va, end := at.VA, at.VA+x86.Virt(at.Bytes()); va < end; {
		a, ok, err := c.r.t.Area(c.s.Proc(), va)
		if err != nil {
			return 0, err
		}
		if !ok {
			va += x86.PageSize
			continue
		}
		n++
		va = a.End
	}
	return n, nil
}

// list compares names: those that must be there, and with ! those that must not.
func (c *checker) list(it *Item) (bool, string, error) {
	var have []string
	var err error
	switch it.Name {
	case "area":
		a, ok, err := c.r.t.Area(c.s.Proc(), c.va)
		if err != nil || !ok {
			return false, "in no area", err
		}
		have = a.Flags
	case "scan":
		have, err = c.r.t.Scan(c.s.Proc(), c.va)
	case "pagemap":
		have, err = c.r.t.Pagemap(c.s.Proc(), c.va)
	}
	if err != nil {
		return false, "", err
	}
	for _, w := range it.List {
		name, not := strings.CutPrefix(w, "!")
		if slices.Contains(have, name) == not {
			return false, fmt.Sprintf("%s %s", it.Name, strings.Join(have, ",")), nil
		}
	}
	return true, fmt.Sprintf("%s %s", it.Name, strings.Join(have, ",")), nil
}

// frame compares the frame with a remembered one, or with that of another place.
func (c *checker) frame(it *Item) (bool, string, error) {
	if c.e.Page == nil {
		return false, "no page", nil
	}
	found := fmt.Sprintf("in frame %#x", uint64(c.e.PFN))
	if it.Name == "frame" {
		m := c.r.marks[it.Arg]
		if len(m.frames) == 0 {
			return false, "", fmt.Errorf("nothing is remembered as %s on this kernel", it.Arg)
		}
		first, _ := m.first(c.s.Op.At, c.r.span(c.s.Op.At).Pages)
		return c.e.PFN == m.frames[min(first+c.page, len(m.frames)-1)], found, nil
	}
	other := c.r.span(it.Other)
	proc := it.Proc
	if proc == "" {
		proc = c.s.Proc()
	}
	o, err := c.r.t.Entry(proc, other.VA+x86.Virt(min(c.page, other.Pages-1))*x86.PageSize)
	if err != nil {
		return false, "", err
	}
	return o.Page != nil && o.PFN == c.e.PFN, found + ", and the other place: " + c.r.d.describe(&o), nil
}
