package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/thp"
)

// huge returns what operations on tables need to know of the huge pages of the area.
func (v *VMA) huge() *thp.Huge { return v.hugeFor(-1) }

// hugeFor is huge for an operation of the only CPU that runs the space, on a node; -1: it is not the only one.
func (v *VMA) hugeFor(node int) *thp.Huge {
	m := v.space.m
	return &thp.Huge{
		Area: v.area(), Page: m.thpPage,
		Skip:  func(va x86.Virt, e x86.PMD) bool { return v.numaSkipsPMD(e, node) },
		Split: func(va x86.Virt, r thp.SplitResult) { m.split(v, r) },
	}
}

// split counts what a split of a huge page's entry changed: a mapping as a whole became 512 single ones, or none.
//
// Linux: mm/huge_memory.c:__split_huge_pmd_locked()
func (m *Machine) split(v *VMA, r thp.SplitResult) {
	head, ok := m.normalPMD(r.Old)
	if !ok {
		return
	}
	f := &m.pages[head]
	if r.Dirty {
		f.flags |= pgDirty
	}
	f.whole--
	if r.Kind != thp.SplitPages {
		m.setExclusive(head, false)
		m.put(head)
		return
	}
	for i := range x86.PFN(thp.Pages) {
		m.pages[head+i].mapped++
		m.setExclusive(head+i, r.Exclusive)
	}
	f.ref += thp.Pages - 1
}

// zappedPMD takes back what the PMD old counted, which is gone.
//
// Linux: mm/huge_memory.c:zap_huge_pmd()
func (m *Machine) zappedPMD(g *gather, v *VMA, old x86.PMD) {
	head, ok := m.normalPMD(old)
	if !ok {
		return
	}
	f := &m.pages[head]
	if f.flags&pgAnon == 0 && old.Dirty(m.abi) {
		f.flags |= pgDirty
	}
	f.whole--
	m.markPartly(head)
	g.putLater(head)
}

// splitHuge splits a huge page that would reach over the end of an area cut at va.
//
// Linux: mm/huge_memory.c:vma_adjust_trans_huge()
func (v *VMA) splitHuge(va x86.Virt) {
	if va%x86.Virt(x86.LevelPMD.Size()) == 0 {
		return
	}
	if _, huge := v.space.hugePMD(va); !huge {
		return
	}
	h := v.huge()
	r, err := h.Area.Split(v.space.tree, va, h.Page, false)
	if err != nil {
		panic("mm: " + err.Error()) // a huge page without its deposited table
	}
	if r.Split {
		v.space.m.split(v, r)
	}
}

// splitPMD puts a table, or nothing, in the place of the huge entry at va.
func (s *Space) splitPMD(g *gather, v *VMA, va x86.Virt) error {
	return v.huge().SplitPMD(&g.Gather, va)
}

// splitHugePMD is splitPMD with a gather of its own. Linux: mm/huge_memory.c:split_huge_pmd()
func (c *CPU) splitHugePMD(v *VMA, va x86.Virt) error {
	g := c.gather(v.space)
	defer g.finish()
	return v.space.splitPMD(g, v, va)
}

// copyHuge says how fork copies huge pages.
func (f *forker) copyHuge(o *pgtable.Copy) pgtable.HugeFunc {
	return f.from.huge().Copier(&f.g.Gather, f.child.tree, *o, func(va x86.Virt, pfn x86.PFN) {
		head := f.m.head(pfn)
		if f.m.pages[head].flags&pgReserved != 0 {
			return
		}
		f.m.setExclusive(head, false)
		f.m.pages[head].whole++
		f.m.pages[head].ref++
	})
}

// hugeZero returns the huge zero page, which is allocated at its first use.
//
// Linux: mm/huge_memory.c:mm_get_huge_zero_folio()
func (m *Machine) hugeZero() (x86.PFN, bool) {
	if m.cfg.NoHugeZero {
		return 0, false
	}
	if m.huge == 0 {
		pfn, err := m.ram.AllocHuge()
		if err != nil {
			return 0, false
		}
		for i := range x86.PFN(physmem.BlockFrames) {
			m.pages[pfn+i] = page{ref: 1, flags: pgReserved}
		}
		m.huge = pfn
	}
	return m.huge, true
}

// hugeAllowed reports that faults may map the 2 MiB around va by one entry.
//
// Linux: mm/huge_memory.c:thp_vma_allowable_order()
func (v *VMA) hugeAllowed(va x86.Virt) bool {
	r := span(va&^x86.Virt(x86.LevelPMD.Size()-1), thp.Pages)
	on := v.space.m.cfg.HugePages || v.flags&VMHugePage != 0
	return on && v.Anonymous() && v.flags&VMNoHugePage == 0 && r.First >= v.Start && r.Last < v.End
}

// numaSkipsPMD is the part of the NUMA filter that looks at the page behind a PMD.
//
// Linux: mm/huge_memory.c:change_huge_pmd()
func (v *VMA) numaSkipsPMD(e x86.PMD, node int) bool {
	m := v.space.m
	if !m.Policy.NUMASkipPinned {
		return false
	}
	head, ok := m.normalPMD(e)
	return ok && v.numaSkips(x86.MkPTE(m.abi, head, v.prot), node)
}
