package mm

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Mprotect changes the protection of length bytes from va on.
//
// Linux: mm/mprotect.c:do_mprotect_pkey()
func (c *CPU) Mprotect(va x86.Virt, length uint64, p Prot) error {
	return c.PkeyMprotect(va, length, p, -1)
}

// PkeyMprotect also changes the protection key, unless pkey is -1.
func (c *CPU) PkeyMprotect(va x86.Virt, length uint64, p Prot, pkey int) error {
	s := c.space
	if va%x86.PageSize != 0 || pkey < -1 || pkey > 15 {
		return &CallError{"mprotect", va, ErrInval}
	}
	if length == 0 {
		return nil
	}
	r, err := s.checkPages("mprotect", va, length)
	if err != nil {
		return &CallError{"mprotect", va, ErrNoMem}
	}
	s.writeLock()
	defer s.writeUnlock()
	g := c.gather(s)
	defer g.finish()
	for at := r.First; ; {
		v := s.VMA(at)
		if v == nil {
			return &CallError{"mprotect", at, ErrNoMem}
		}
		part := pgtable.Range{First: at, Last: min(r.Last, v.End-1)}
		if err := s.protectArea(g, v, part, v.protected(p, pkey)); err != nil {
			return err
		}
		if part.Last == r.Last {
			return nil
		}
		at = part.Last + 1
	}
}

// protected returns the flags of the area with another protection.
func (v *VMA) protected(p Prot, pkey int) VMFlags {
	f := v.flags&^vmAccess | p.vmFlags()
	if pkey >= 0 {
		f = f&^x86.VMPkeyMask | x86.PagePkey(pkey)
	}
	return f
}

// protectArea gives part r of v the flags f.
//
// Linux: mm/mprotect.c:mprotect_fixup()
func (s *Space) protectArea(g *gather, v *VMA, r pgtable.Range, f VMFlags) error {
	if f&^(f>>4)&vmAccess != 0 {
		return &CallError{"mprotect", r.First, ErrAccess}
	}
	old := v.flags
	if f == old {
		return nil
	}
	f = v.accounted(f)
	v = s.isolate(v, r.First, r.Last+1)
	v.flags = f
	var change x86.ChangeFlags
	if v.wantsUpgrade() { // asks with vm_page_prot as it was
		change = x86.ChangeTryWritable
	}
	v = s.mergeAround(v)
	v.setPageProt()
	if _, err := s.changeProtection(g, v, r, v.prot, change); err != nil {
		return err
	}
	if old&(x86.VMWrite|x86.VMShared|VMLocked) == VMLocked && f&x86.VMWrite != 0 {
		g.c.populateLocked(r)
	}
	return nil
}

// accounted returns the flags f, which the area is to have, with the memory set aside that it needs: for what becomes
// writable, as long as it has had anonymous pages.
//
// Linux: mm/mprotect.c:mprotect_fixup(), VM_ACCOUNT
func (v *VMA) accounted(f VMFlags) VMFlags {
	switch {
	case f&x86.VMWrite != 0:
		if v.flags&x86.VMWrite == 0 && accountable(f) {
			f |= VMAccount
		}
	case v.Anonymous() && v.anon == nil && v.space.m.Policy.UnwrittenUnaccounted:
		f &^= VMAccount
	}
	return f
}

// changeProtection changes the entries of part r of v to prot. It returns the number of entries that the kernel counts.
//
// Linux: mm/mprotect.c:change_protection()
func (s *Space) changeProtection(g *gather, v *VMA, r pgtable.Range, prot x86.Prot, flags x86.ChangeFlags) (int64, error) {
	m := s.m
	backing := swapentry.BackingMixed
	if v.Anonymous() {
		backing = swapentry.BackingAnon
	} else if v.shared() {
		backing = swapentry.BackingFile
	}
	node := g.c.soleNode(s)
	args := pgtable.ProtectionArgs{
		Prot: prot, Flags: flags | v.changeFlags(), Swap: m.layout.Change(flags, backing, v.usesMarkers()), Anonymous: v.Anonymous(),
		Exclusive: pgtable.Exclusive{Bits: m.excl}, Pages: pagesOf{v, flags, node}, Huge: v.hugeFor(node),
	}
	if m.large > 0 {
		args.Folios = m
	}
	p, err := pgtable.NewProtection(m.abi, args)
	if err != nil {
		return 0, err
	}
	s.flushBatched()
	n, err := s.tree.ChangeProtection(&g.Gather, r, p)
	if noMemory(err) {
		return n, &CallError{"mprotect", r.First, ErrNoMem}
	}
	return n, err
}

// usesMarkers reports that write protection leaves markers in empty slots of the area.
//
// Linux: mm/userfaultfd.c:userfaultfd_wp_use_markers()
func (v *VMA) usesMarkers() bool {
	return v.flags&VMUffdWP != 0 && (!v.Anonymous() || v.uffd.wpUnpopulated())
}

// pagesOf answers change_protection's questions about the pages of an area.
type pagesOf struct {
	v     *VMA
	flags x86.ChangeFlags
	node  int // of the only CPU that runs the space, or -1
}

// Exclusive implements [pgtable.Pages]. All frames are in the bitmap; others are not memory.
func (p pagesOf) Exclusive(x86.PFN) bool { return false }

// Other implements [pgtable.Pages]: it depends on the page what a writable migration entry becomes.
func (p pagesOf) Other(e x86.PTE) x86.PTE {
	m := p.v.space.m
	return m.layout.ChangeMigration(e, p.flags, m.anonPage(m.layout.FromPTE(e).PFN(m.layout)))
}

// Skip implements [pgtable.Pages].
func (p pagesOf) Skip(c pgtable.PTECursor, first, last int) (b pgtable.Bitmap) {
	for i := first; i <= last; i++ {
		if e := c.Get(i); e.Present() && !e.Protnone() && p.v.numaSkips(e, p.node) {
			b.Set(i)
		}
	}
	return b
}

// Folio implements [pgtable.Folios].
func (m *Machine) Folio(pfn x86.PFN) (first x86.PFN, frames uint64) {
	if uint64(pfn) >= uint64(len(m.pages)) {
		return 0, 0
	}
	return m.head(pfn), 1 << m.folio(pfn).order
}

// populateLocked faults in what a locked area may write now; the mmap lock is held.
func (c *CPU) populateLocked(r pgtable.Range) {
	for va := r.First; va <= r.Last; va += x86.PageSize {
		f := &fault{c: c, m: c.m, s: c.space, v: c.space.VMA(va), va: va, flags: faultWrite | faultRemote}
		if f.handle() != nil {
			return
		}
	}
}
