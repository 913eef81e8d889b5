package x86

// PMD is an entry of a second-level table: a pointer to a PTE table, a 2 MiB page, or what stands in the place
// of one.
//
// Linux: arch/x86/include/asm/pgtable_64_types.h:pmd_t
type PMD uint64

// MkPMD returns an entry for the 2 MiB at frame pfn. It does not set PSE; see [PMD.MkHuge].
//
// Linux: arch/x86/include/asm/pgtable.h:pfn_pmd()
func MkPMD(a *ABI, pfn PFN, prot Prot) PMD { return PMD(a.mkPFN(pfn, prot, a.pmdFrame)) }

// Present reports P, PROT_NONE, or PSE alone: a huge page that is being changed has only PSE left.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_present()
func (p PMD) Present() bool { return p&(PagePresent|PageProtnone|PagePSE) != 0 }

// Leaf reports a 2 MiB page, whatever its P.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_leaf(); 6.1: pmd_large()
func (p PMD) Leaf() bool { return p&PagePSE != 0 }

// TransHuge reports a huge page that is not device memory. Linux: arch/x86/include/asm/pgtable.h:pmd_trans_huge()
func (p PMD) TransHuge(a *ABI) bool { return uint64(p)&(PagePSE|a.devmap) == PagePSE }

// Bad reports an entry that is not a sound pointer to a PTE table. Linux: arch/x86/include/asm/pgtable.h:pmd_bad()
func (p PMD) Bad(a *ABI) bool {
	return p.Flags(a)&^(PageUser|PageAccessed) != PageKernPgTable&^PageAccessed|a.paging.EncMask
}

// PFNMask returns the frame bits of this entry: fewer for a huge page than for a table pointer.
//
// Linux: arch/x86/include/asm/pgtable_types.h:pmd_pfn_mask()
func (p PMD) PFNMask(a *ABI) uint64 {
	if p&PagePSE != 0 {
		return a.pmdFrame
	}
	return a.pteFrame
}

// PFN returns the first frame of the huge page, or the frame of the PTE table.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_pfn()
func (p PMD) PFN(a *ABI) PFN {
	return PFN((uint64(p) ^ protnoneMask(uint64(p))) & p.PFNMask(a) >> PageShift)
}

// Flags returns the bits that are not part of the frame. Linux: arch/x86/include/asm/pgtable_types.h:pmd_flags()
func (p PMD) Flags(a *ABI) uint64 { return uint64(p) &^ p.PFNMask(a) }

// Shstk reports a huge shadow-stack page. Linux: arch/x86/include/asm/pgtable.h:pmd_shstk()
func (p PMD) Shstk(a *ABI) bool {
	return a.shadowStack && p&(PageRW|PageDirty|PagePSE) == PageDirty|PagePSE
}

// Special reports a huge mapping without struct page, where kernels know such a thing.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_special()
func (p PMD) Special(a *ABI) bool { return a.kernel.HugeSpecial && p&PageSpecial != 0 }

// MkSpecial sets SPECIAL. Linux: arch/x86/include/asm/pgtable.h:pmd_mkspecial()
func (p PMD) MkSpecial() PMD { return p | PageSpecial }

// MkDevmap sets DEVMAP, where the flag exists. Linux 6.12: arch/x86/include/asm/pgtable.h:pmd_mkdevmap()
func (p PMD) MkDevmap(a *ABI) PMD { return p | PMD(a.devmap) }

// MkHuge sets PSE. Linux: arch/x86/include/asm/pgtable.h:pmd_mkhuge()
func (p PMD) MkHuge() PMD { return p | PagePSE }

// MkInvalid takes P and PROT_NONE away and keeps the frame (now inverted) and PSE, so that the entry is still
// [PMD.Present] but no processor uses it.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_mkinvalid()
func (p PMD) MkInvalid(a *ABI) PMD {
	return MkPMD(a, p.PFN(a), Prot(p.Flags(a)&^(PagePresent|PageProtnone)))
}

// Modify changes the protection as [PTE.Modify] does. 6.12 loses a hardware D here.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_modify()
func (p PMD) Modify(a *ABI, prot Prot) PMD {
	return PMD(a.modify(uint64(p), prot, a.pmdKeep, a.hpageChange, a.pmdFrame))
}

// None reports an empty slot. A and D may be set by an erratum and do not count.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_none()
func (p PMD) None() bool { return p&^PageKnlErratumMask == 0 }

// Protnone reports a page that exists and permits nothing: mprotect(PROT_NONE) or a NUMA hint.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_protnone()
func (p PMD) Protnone() bool { return p&(PagePresent|PageProtnone) == PageProtnone }

// Write reports that a write is allowed by this entry: RW, or a shadow-stack page.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_write()
func (p PMD) Write(a *ABI) bool { return p&PageRW != 0 || p.Shstk(a) }

// Dirty reports D, or SAVED_DIRTY where it exists.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_dirty()
func (p PMD) Dirty(a *ABI) bool { return uint64(p)&a.dirtyBits() != 0 }

// Young reports A. Linux: arch/x86/include/asm/pgtable.h:pmd_young()
func (p PMD) Young() bool { return p&PageAccessed != 0 }

// Devmap reports device memory with struct pages, where the flag exists.
//
// Linux 6.12: arch/x86/include/asm/pgtable.h:pmd_devmap()
func (p PMD) Devmap(a *ABI) bool { return uint64(p)&a.devmap != 0 }

// SoftDirty reports bit 11 of a present entry. Linux: arch/x86/include/asm/pgtable.h:pmd_soft_dirty()
func (p PMD) SoftDirty() bool { return p&PageSoftDirty != 0 }

// UffdWP reports bit 10 of a present entry. Linux: arch/x86/include/asm/pgtable.h:pmd_uffd_wp()
func (p PMD) UffdWP() bool { return p&PageUffdWP != 0 }

// AccessPermitted reports whether user code with this PKRU could read, or write, through the entry.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_access_permitted()
func (p PMD) AccessPermitted(write bool, pkru uint32) bool {
	return accessPermitted(uint64(p), write, pkru)
}

// WrProtect takes write permission away; a dirty entry keeps its dirtiness in SAVED_DIRTY where that exists.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_wrprotect()
func (p PMD) WrProtect(a *ABI) PMD { return PMD(a.wrProtect(uint64(p))) }

// MkWriteNoVMA sets RW and nothing else. Linux: arch/x86/include/asm/pgtable.h:pmd_mkwrite_novma()
func (p PMD) MkWriteNoVMA() PMD { return p | PageRW }

// MkWrite sets RW as for an ordinary writable VMA, and moves a saved dirty state back to D. For a shadow-stack
// VMA the kernel's pmd_mkwrite() is [PMD.MkWriteShstk].
//
// Linux: arch/x86/mm/pgtable.c:pmd_mkwrite()
func (p PMD) MkWrite(a *ABI) PMD { return PMD(a.clearSavedDirty(uint64(p | PageRW))) }

// MkWriteShstk makes a shadow-stack page: RW=0, D=1. SAVED_DIRTY is left alone.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_mkwrite_shstk()
func (p PMD) MkWriteShstk() PMD { return p&^PageRW | PageDirty }

// MaybeMkWrite permits writing as an area with flags f wants it: not at all without VM_WRITE, as a shadow-stack page
// with VM_SHADOW_STACK, else as [PMD.MkWrite] does.
//
// Linux: mm/huge_memory.c:maybe_pmd_mkwrite(); arch/x86/mm/pgtable.c:pmd_mkwrite()
func (p PMD) MaybeMkWrite(a *ABI, f VMFlags) PMD {
	switch {
	case f&VMWrite == 0:
		return p
	case a.shadowStackArea(f):
		return p.MkWriteShstk()
	}
	return p.MkWrite(a)
}

// MkSavedDirty moves D of a read-only entry to SAVED_DIRTY.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_mksaveddirty()
func (p PMD) MkSavedDirty(a *ABI) PMD { return PMD(a.mkSavedDirty(uint64(p))) }

// ClearSavedDirty moves SAVED_DIRTY of a writable entry to D.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_clear_saveddirty()
func (p PMD) ClearSavedDirty(a *ABI) PMD { return PMD(a.clearSavedDirty(uint64(p))) }

// MkDirty sets the dirty state, and SOFT_DIRTY with it. Linux: arch/x86/include/asm/pgtable.h:pmd_mkdirty()
func (p PMD) MkDirty(a *ABI) PMD { return PMD(a.mkDirty(uint64(p))) }

// MkClean clears the dirty state, wherever it is kept. Linux: arch/x86/include/asm/pgtable.h:pmd_mkclean()
func (p PMD) MkClean(a *ABI) PMD { return PMD(uint64(p) &^ a.dirtyBits()) }

// MkYoung sets A. Linux: arch/x86/include/asm/pgtable.h:pmd_mkyoung()
func (p PMD) MkYoung() PMD { return p | PageAccessed }

// MkOld clears A. Linux: arch/x86/include/asm/pgtable.h:pmd_mkold()
func (p PMD) MkOld() PMD { return p &^ PageAccessed }

// MkSoftDirty sets SOFT_DIRTY. Linux: arch/x86/include/asm/pgtable.h:pmd_mksoft_dirty()
func (p PMD) MkSoftDirty() PMD { return p | PageSoftDirty }

// ClearSoftDirty clears SOFT_DIRTY. Linux: arch/x86/include/asm/pgtable.h:pmd_clear_soft_dirty()
func (p PMD) ClearSoftDirty() PMD { return p &^ PageSoftDirty }

// MkUffdWP sets UFFD_WP. Since 6.3 it write-protects too; in 6.1 RW stays as it is.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_mkuffd_wp()
func (p PMD) MkUffdWP(a *ABI) PMD { return PMD(a.mkUffdWP(uint64(p))) }

// ClearUffdWP clears UFFD_WP and does not give write permission back.
//
// Linux: arch/x86/include/asm/pgtable.h:pmd_clear_uffd_wp()
func (p PMD) ClearUffdWP() PMD { return p &^ PageUffdWP }
