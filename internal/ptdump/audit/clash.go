package audit

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// clashKind is what does not go together.
type clashKind uint8

const (
	clashLink   clashKind = iota // entries that lead to one table
	clashTable                   // a table that is mapped
	clashPage                    // a private page that is mapped twice
	clashPoison                  // a failed frame that is mapped
	clashSlot                    // a swap slot
)

// clashKey is what clashing places have in common: a frame, or a slot of a device.
type clashKey struct {
	kind   clashKind
	device uint8
	number uint64
}

// clashPlace is one of the places.
type clashPlace struct {
	key clashKey
	place
	pfn      x86.PFN // the frame, or the first of the page that holds it
	size     uint64
	region   string
	writable bool
	holder   bool // the place that makes it a clash: private and writable, exclusive, failed
	huge     bool // a link to a table of hugetlb
}

// clashVisitor looks for the places of clashing frames in one address space.
type clashVisitor struct {
	a      *auditor
	user   *userAudit   // decides what a page is
	kernel *kernelAudit // set in the kernel half
	found  []clashPlace
}

// clashesIn looks through one address space. Its user half, or init_mm's kernel half.
func (a *auditor) clashesIn(s *addressSpace) ([]clashPlace, error) {
	v := &clashVisitor{a: a, user: a.userAudit(s)}
	r, root := pgtable.Range{First: 0, Last: a.in.ABI.Paging().KernelHalf() - 1}, s.userRoot()
	if s == a.in.Kernel {
		v.kernel = a.kernelAudit(s)
		r, root = a.kernelRange(), s.roots.Kernel.PFN()
	}
	if a.fr.get(uint64(root))&frTableAgain != 0 {
		v.keep(clashPlace{key: clashKey{clashLink, 0, uint64(root)}, place: place{Space: s, Level: a.in.ABI.Paging().Root() + 1}, pfn: root})
	}
	if err := pgtable.Walk(a.in.Mem, a.in.ABI, root, r, v); err != nil {
		return v.found, a.interrupted() // that the root cannot be read was said before
	}
	return v.found, nil
}

func (v *clashVisitor) keep(p clashPlace) {
	if len(v.found) < maxClashes {
		v.found = append(v.found, p)
	}
}

// Enter implements [pgtable.Visitor].
func (v *clashVisitor) Enter(t *pgtable.Table) (bool, error) {
	seen := v.user.seen
	if t.Repeat {
		if seen[tree.KeyOf(t)] {
			return false, nil
		}
		if len(seen) < maxRepeats {
			seen[tree.KeyOf(t)] = true
		}
	}
	if t.Parent == 0 || v.a.fr.get(uint64(t.PFN))&frTableAgain == 0 {
		return true, nil
	}
	if v.kernel != nil {
		if v.kernel.at(t.VA); v.kernel.repeats() {
			return true, nil
		}
	}
	v.keep(clashPlace{
		key:   clashKey{clashLink, 0, uint64(t.PFN)},
		place: place{v.user.space, t.VA, t.Level + 1, t.Raw, t.Parent},
		pfn:   t.PFN, size: t.Level.Span(), huge: v.hugetlb(t),
	})
	return true, nil
}

// hugetlb reports whether a table may be one that processes share.
//
// Linux: mm/hugetlb.c:huge_pmd_share()
func (v *clashVisitor) hugetlb(t *pgtable.Table) bool {
	if t.Level != x86.LevelPMD || v.kernel != nil {
		return false
	}
	if area := v.user.areas.at(t.VA); area != nil || v.user.space.complete {
		return area != nil && area.Huge && area.Shared
	}
	var entries physmem.Table
	if !v.a.readTable(t.PFN, &entries) {
		return false
	}
	for _, e := range entries {
		if e&x86.PagePresent != 0 && e&x86.PagePSE == 0 {
			return false
		}
	}
	return true
}

// Leave implements [pgtable.Visitor].
func (v *clashVisitor) Leave(*pgtable.Table) error { return nil }

// Problem implements [pgtable.Visitor].
func (v *clashVisitor) Problem(*pgtable.Problem) error { return v.a.interrupted() }

// Slot implements [pgtable.Visitor].
func (v *clashVisitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotLeaf {
		v.entry(t, i)
	}
	return nil
}

// PTEs implements [pgtable.Visitor].
func (v *clashVisitor) PTEs(t *pgtable.Table) error {
	for i := t.First; i <= t.Last; i++ {
		if !x86.PTE(t.Entries[i]).None() {
			v.entry(t, i)
		}
	}
	return nil
}

func (v *clashVisitor) entry(t *pgtable.Table, i int) {
	l := &v.user.leaf
	v.user.decoder.Leaf(l, t, i)
	switch {
	case v.kernel != nil:
		v.kernelEntry(l)
	case l.IsPage():
		v.page(l)
	case l.Kind == tree.KindSwap && !l.Invalid:
		if slotClash(v.a.slot.of(l.Swap.Type).get(l.Swap.Offset)) {
			v.leaf(clashKey{clashSlot, l.Swap.Type, l.Swap.Offset}, l, l.VA, l.Swap.Exclusive)
		}
	case l.Kind == tree.KindHWPoison:
		if v.a.fr.get(uint64(l.PFN))&frUser != 0 {
			v.leaf(clashKey{clashPoison, 0, uint64(l.PFN)}, l, l.VA, true)
		}
	}
}

// page looks at the frames of a page of a process.
func (v *clashVisitor) page(l *tree.Leaf) {
	area := v.user.areas.at(l.VA)
	for i := range x86.PFN(l.Level.Size() / x86.PageSize) {
		s, va, n := v.a.fr.get(uint64(l.PFN+i)), l.VA+x86.Virt(i)<<x86.PageShift, uint64(l.PFN+i)
		if !frameClash(s) {
			continue
		}
		present := l.Raw&x86.PagePresent != 0
		if s&frTable != 0 && present {
			v.leaf(clashKey{clashTable, 0, n}, l, va, true)
		}
		if area != nil && area.Driver || v.user.special(l, area) {
			continue
		}
		if s&frPrivate != 0 && s&frUserAgain != 0 {
			v.leaf(clashKey{clashPage, 0, n}, l, va, present && v.user.writable(l) && area.private())
		}
		if s&frPoison != 0 {
			v.leaf(clashKey{clashPoison, 0, n}, l, va, false)
		}
	}
}

// kernelEntry looks at the frames of a page of the kernel half.
func (v *clashVisitor) kernelEntry(l *tree.Leaf) {
	if l.Raw&x86.PagePresent == 0 || !l.Rights.W || l.Level > x86.LevelPMD {
		return
	}
	v.kernel.at(l.VA)
	if r := v.kernel.region.Region; r == linux.RegionDirectMap || r == linux.RegionText || v.kernel.repeats() {
		return
	}
	for i := range x86.PFN(l.Level.Size() / x86.PageSize) {
		if v.a.fr.get(uint64(l.PFN+i))&frTable != 0 {
			v.leaf(clashKey{clashTable, 0, uint64(l.PFN + i)}, l, l.VA+x86.Virt(i)<<x86.PageShift, true)
		}
	}
}

// leaf keeps a place of an entry.
func (v *clashVisitor) leaf(key clashKey, l *tree.Leaf, va x86.Virt, holder bool) {
	region := ""
	if v.kernel != nil {
		region = v.kernel.region.Name
	} else if area := v.user.areas.at(l.VA); area != nil {
		region = area.Name
	}
	v.keep(clashPlace{
		key: key, place: place{v.user.space, va, l.Level, l.Raw, l.Place()}, pfn: x86.PFN(key.number), size: x86.PageSize,
		region: region, writable: l.Rights.W, holder: holder,
	})
}
