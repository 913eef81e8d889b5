package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// entries checks every entry of a space's tables that is not empty.
func (c *checker) entries(s *Space) {
	all := pgtable.Range{First: 0, Last: s.tree.Limit() - 1}
	var t physmem.Table
	err := s.tree.EachPMD(all, false, func(slot pgtable.PMDSlot) error {
		switch {
		case slot.Level != x86.LevelPMD:
			c.at(slot.First, uint64(slot.Entry), "a 1 GiB page")
		case slot.HasTable():
			l, err := slot.LockPTEs()
			if err != nil {
				return err
			}
			t = *l.Table()
			l.Unlock()
			for i, e := range t {
				if e != 0 {
					c.entry(slot.First+x86.Virt(i)*x86.PageSize, x86.LevelPTE, e)
				}
			}
		case slot.Entry != 0:
			c.entry(slot.First, x86.LevelPMD, uint64(slot.Entry))
		}
		return nil
	})
	if err != nil {
		c.at(0, 0, "tables cannot be walked: %v", err)
	}
}

// leaf is what an entry says, at either level.
type leaf struct {
	v     *VMA
	va    x86.Virt
	level x86.Level
	raw   uint64

	pfn                                         x86.PFN
	write, uffdWP, softDirty, protnone, special bool
	fresh                                       uint64 // the entry with the protection that the area gives
}

// pages returns how many pages it maps.
func (l *leaf) pages() x86.PFN { return x86.PFN(l.level.Size() / x86.PageSize) }

func (c *checker) entry(va x86.Virt, level x86.Level, raw uint64) {
	v := c.s.VMA(va)
	if v == nil || va+x86.Virt(level.Size()) > v.End {
		c.at(va, raw, "the entry lies in no area")
		return
	}
	l := &leaf{v: v, va: va, level: level, raw: raw}
	abi := c.m.abi
	if level == x86.LevelPTE {
		e := x86.PTE(raw)
		if !e.Present() {
			c.absent(l)
			return
		}
		l.pfn, l.write, l.uffdWP, l.softDirty, l.protnone, l.special = e.PFN(abi), e.Write(abi), e.UffdWP(), e.SoftDirty(), e.Protnone(), e.Special()
		l.fresh = uint64(e.Modify(abi, v.prot))
	} else {
		e := x86.PMD(raw)
		if !e.Present() {
			c.absent(l)
			return
		}
		l.pfn, l.write, l.uffdWP, l.softDirty, l.protnone, l.special = e.PFN(abi), e.Write(abi), e.UffdWP(), e.SoftDirty(), e.Protnone(), e.Special(abi)
		l.fresh = uint64(e.Modify(abi, v.prot))
	}
	c.present(l)
}

// present checks an entry that maps a page.
func (c *checker) present(l *leaf) {
	m := c.m
	if uint64(l.pfn)+uint64(l.pages()) > uint64(len(m.pages)) {
		c.at(l.va, l.raw, "frame %#x is beyond memory", uint64(l.pfn))
		return
	}
	c.rights(l)
	if c.zeroPage(l) {
		return
	}
	use, allocated := m.ram.UseOf(l.pfn)
	f := m.folio(l.pfn)
	switch {
	case !allocated || use != physmem.UsePage:
		c.at(l.va, l.raw, "frame %#x is not allocated as a page", uint64(l.pfn))
		return
	case f.flags&pgReserved != 0 || f.ref <= 0:
		c.at(l.va, l.raw, "frame %#x is mapped, and has %d references", uint64(l.pfn), f.ref)
		return
	case l.level == x86.LevelPMD && (f.order != hugeOrder || m.head(l.pfn) != l.pfn):
		c.at(l.va, l.raw, "frame %#x is not the first of a huge page", uint64(l.pfn))
		return
	}
	c.page(l, f)
	t := &c.pages[l.pfn]
	t.place = place{c.s.id, l.va}
	if l.level == x86.LevelPTE {
		t.ptes++
	} else {
		t.pmds++
	}
}

// zeroPage checks an entry for a zero page, and reports whether it is one.
func (c *checker) zeroPage(l *leaf) bool {
	m := c.m
	zero := l.pfn == m.zero || m.huge != 0 && m.head(l.pfn) == m.head(m.huge) && l.pfn >= m.huge && l.pfn < m.huge+hugeFrames
	special := l.special
	if l.level == x86.LevelPMD && !m.kernel.HugeZeroSpecial {
		special = zero // not marked
	}
	switch {
	case !zero && special:
		c.at(l.va, l.raw, "a page with a struct page is marked special")
	case zero && !special:
		c.at(l.va, l.raw, "the zero page is not marked special")
	case zero && l.write:
		c.at(l.va, l.raw, "the zero page is writable")
	case zero && l.v.shared():
		c.at(l.va, l.raw, "the zero page is mapped in a shared area")
	}
	return zero
}

const hugeFrames = 1 << hugeOrder

// rights checks what the entry permits against what the area gives.
func (c *checker) rights(l *leaf) {
	const mask = x86.PageNX | x86.PageUser | x86.PagePkeyMask | x86.PagePWT | x86.PagePCD
	v := l.v
	open := v.flags&vmAccess != 0
	switch {
	case !open && !l.protnone:
		c.at(l.va, l.raw, "a page is accessible in an area that is not")
	case (!open || !l.protnone) && (l.raw^l.fresh)&mask != 0: // else a NUMA hint
		c.at(l.va, l.raw, "rights differ from vm_page_prot, which makes it %#x", l.fresh)
	}
	switch {
	case !l.write:
	case !v.writable():
		c.at(l.va, l.raw, "RW in an area that may not be written")
	case l.uffdWP && v.flags&VMUffdWP != 0:
		c.at(l.va, l.raw, "RW and write-protected by userfaultfd")
	case v.softDirtyTracked() && !l.softDirty && c.tracks(l):
		c.at(l.va, l.raw, "RW without SOFT_DIRTY in an area where soft-dirty is tracked")
	}
}

// tracks reports that no write to the page may go unnoticed. Pinned pages are not write-protected again when tracking
// begins; and where areas that differ in VM_SOFTDIRTY are merged into either, it may begin without a change of entries.
func (c *checker) tracks(l *leaf) bool {
	return c.m.Policy.StickyFlags && !l.v.space.untracked && l.v.flags&VMPFNMap == 0 && !c.m.maybePinned(l.pfn)
}

// page checks an entry against the page that it maps.
func (c *checker) page(l *leaf, f *page) {
	m, v := c.m, l.v
	anon := f.flags&pgAnon != 0
	switch {
	case anon && v.shared():
		c.at(l.va, l.raw, "a shared area maps anonymous page %#x", uint64(l.pfn))
	case l.write && !v.shared() && !anon:
		c.at(l.va, l.raw, "RW in a private area on page %#x, which is not anonymous", uint64(l.pfn))
	case l.write && !v.shared() && !m.exclusive(l.pfn):
		c.at(l.va, l.raw, "RW in a private area on page %#x, which is not exclusive", uint64(l.pfn))
	case f.flags&pgKSM != 0: // has many indices
	case !v.sameMapping(f) || v.index(l.va) != f.index+uint64(l.pfn-m.head(l.pfn)):
		c.at(l.va, l.raw, "page %#x is of index %#x of its mapping, and cannot be found here (index %#x, same mapping %v)",
			uint64(l.pfn), f.index+uint64(l.pfn-m.head(l.pfn)), v.index(l.va), v.sameMapping(f))
	}
}
