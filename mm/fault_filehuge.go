package mm

import (
	"ptemu/arch/x86"
	"ptemu/thp"
)

// mapFilePMD maps the huge page of the file that page pfn belongs to by one entry, if nothing is in the slot and the area
// has room for all of it, and reports whether it did.
//
// Linux: mm/memory.c:do_set_pmd()
func (f *fault) mapFilePMD(pfn x86.PFN) bool {
	m, v := f.m, f.v
	head := m.head(pfn)
	p := &m.pages[head]
	r := span(f.base(), thp.Pages)
	switch {
	case p.order != hugeOrder, r.First < v.Start || r.Last >= v.End, v.index(r.First) != p.index:
		return false
	case v.flags&VMNoHugePage != 0 && m.Policy.NoHugeFiles:
		return false
	case !f.pmdNone():
		return false
	}
	a := v.area()
	e := a.Leaf(head)
	if f.flags&faultWrite != 0 {
		e = m.mkWritePMD(v, r.First, e.MkDirty(m.abi), GainFault)
	}
	if a.Map(f.s.tree, r.First, e) != nil {
		return false
	}
	p.whole++
	p.ref++
	return true
}
