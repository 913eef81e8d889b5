package mm

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// frames checks every page in use: its counts against the entries found, and the caches.
func (c *checker) frames() {
	m := c.m
	var used []x86.PFN
	m.ram.EachAllocated(func(pfn x86.PFN, u physmem.Use) bool {
		if u == physmem.UsePage {
			used = append(used, pfn)
		}
		return true
	})
	for _, pfn := range used {
		p := &m.pages[pfn]
		switch {
		case p.flags&pgReserved != 0:
		case p.flags&pgTail != 0:
			c.count(pfn, p)
		default:
			c.count(pfn, p)
			c.folio(pfn, p)
		}
	}
	for _, f := range m.files {
		c.file(f)
	}
}

// ofPage reports something about a page, at the place where it is mapped, if any.
func (c *checker) ofPage(pfn x86.PFN, format string, args ...any) {
	at := c.pages[pfn].place
	c.add(&CheckError{Space: at.space, VA: at.va, Frame: pfn, What: fmt.Sprintf(format, args...)})
}

// count checks what is counted by page.
func (c *checker) count(pfn x86.PFN, p *page) {
	m, t := c.m, &c.pages[pfn]
	if p.mapped != t.ptes {
		c.ofPage(pfn, "%d PTEs map the page, %d are counted", t.ptes, p.mapped)
	}
	if !m.exclusive(pfn) {
		return
	}
	head := m.head(pfn)
	switch f := &m.pages[head]; {
	case f.flags&pgAnon == 0, f.flags&pgKSM != 0:
		c.ofPage(pfn, "the page is exclusive, and not anonymous (flags %#x)", f.flags)
	case t.ptes+t.kept+c.pages[head].pmds > 1:
		c.ofPage(pfn, "the page is exclusive, and mapped %d times", t.ptes+t.kept+c.pages[head].pmds)
	case f.flags&pgSwapCache != 0 && t.ptes > 0 && c.slots[f.slot+uint64(pfn-head)] != nil:
		c.ofPage(pfn, "the page is exclusive, and other entries name its swap slot %d", f.slot+uint64(pfn-head))
	}
}

// folio checks what is counted by folio.
func (c *checker) folio(head x86.PFN, f *page) {
	t := &c.pages[head]
	if f.whole != t.pmds {
		c.ofPage(head, "%d PMDs map the folio, %d are counted", t.pmds, f.whole)
	}
	want := t.pmds + f.held + c.m.cacheRefs(head)
	for i := range x86.PFN(1) << f.order {
		want += c.pages[head+i].ptes + c.pages[head+i].kept
	}
	switch {
	case f.ref != want:
		c.ofPage(head, "the folio has %d references, %d are accounted for: %d by PMDs, %d by caches, %d by holders", f.ref, want,
			t.pmds, c.m.cacheRefs(head), f.held)
	case want == 0:
		c.ofPage(head, "the page is lost: in use, and nobody has it")
	}
	if f.pins < 0 || f.pins > f.held {
		c.ofPage(head, "the folio has %d pins and %d holders", f.pins, f.held)
	}
}

// file checks the page cache.
func (c *checker) file(f *File) {
	for _, index := range sorted(f.cache) {
		pfn := f.cache[index]
		use, ok := c.m.ram.UseOf(pfn)
		if !ok || use != physmem.UsePage {
			c.ofPage(pfn, "the cache of file %q has a frame that is free, at page %d", f.name, index)
			continue
		}
		p := c.m.folio(pfn)
		if at := p.index + uint64(pfn-c.m.head(pfn)); p.file != f || at != index {
			c.ofPage(pfn, "the cache of file %q has it at page %d, it says that it is page %d (same file: %v)", f.name, index, at, p.file == f)
		}
	}
}
