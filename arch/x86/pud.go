package x86

// PUD is an entry of a third-level table: a pointer to a PMD table, or a 1 GiB page.
//
// Linux: arch/x86/include/asm/pgtable_types.h:pud_t
type PUD uint64

// MkPUD returns an entry for the 1 GiB at frame pfn. It does not set PSE; see [PUD.MkHuge].
//
// Linux: arch/x86/include/asm/pgtable.h:pfn_pud()
func MkPUD(a *ABI, pfn PFN, prot Prot) PUD { return PUD(a.mkPFN(pfn, prot, a.pudFrame)) }

// Present reports P. Linux: arch/x86/include/asm/pgtable.h:pud_present()
func (p PUD) Present() bool { return p&PagePresent != 0 }

// Leaf reports a 1 GiB page; 6.1 also wants P.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_leaf(); 6.1: pud_large()
func (p PUD) Leaf(a *ABI) bool {
	if a.kernel.PUDLeafNeedsPresent {
		return p&(PagePSE|PagePresent) == PagePSE|PagePresent
	}
	return p&PagePSE != 0
}

// TransHuge reports a huge page that is not device memory. Linux: arch/x86/include/asm/pgtable.h:pud_trans_huge()
func (p PUD) TransHuge(a *ABI) bool { return uint64(p)&(PagePSE|a.devmap) == PagePSE }

// Bad reports an entry that is not a sound pointer to a PMD table. Linux: arch/x86/include/asm/pgtable.h:pud_bad()
func (p PUD) Bad(a *ABI) bool {
	return p.Flags(a)&^(PageKernPgTable|PageUser|a.paging.EncMask) != 0
}

// PFNMask returns the frame bits of this entry: fewer for a huge page than for a table pointer.
//
// Linux: arch/x86/include/asm/pgtable_types.h:pud_pfn_mask()
func (p PUD) PFNMask(a *ABI) uint64 {
	if p&PagePSE != 0 {
		return a.pudFrame
	}
	return a.pteFrame
}

// PFN returns the first frame of the huge page, or the frame of the PMD table.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_pfn()
func (p PUD) PFN(a *ABI) PFN {
	return PFN((uint64(p) ^ protnoneMask(uint64(p))) & p.PFNMask(a) >> PageShift)
}

// Flags returns the bits that are not part of the frame. Linux: arch/x86/include/asm/pgtable_types.h:pud_flags()
func (p PUD) Flags(a *ABI) uint64 { return uint64(p) &^ p.PFNMask(a) }

// Shstk reports a huge shadow-stack page. Linux: arch/x86/include/asm/pgtable.h:pud_shstk()
func (p PUD) Shstk(a *ABI) bool {
	return a.shadowStack && p&(PageRW|PageDirty|PagePSE) == PageDirty|PagePSE
}

// Write reports RW. Shadow stacks are not looked at. Linux: arch/x86/include/asm/pgtable.h:pud_write()
func (p PUD) Write() bool { return p&PageRW != 0 }

// Special reports a huge mapping without struct page, where kernels know such a thing.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_special()
func (p PUD) Special(a *ABI) bool { return a.kernel.HugeSpecial && p&PageSpecial != 0 }

// WrProtect takes write permission away. Linux: arch/x86/include/asm/pgtable.h:pud_wrprotect()
func (p PUD) WrProtect(a *ABI) PUD { return PUD(a.wrProtect(uint64(p))) }

// MkWrite sets RW and moves a saved dirty state back to D. Linux: arch/x86/include/asm/pgtable.h:pud_mkwrite()
func (p PUD) MkWrite(a *ABI) PUD { return PUD(a.clearSavedDirty(uint64(p | PageRW))) }

// MkSpecial sets SPECIAL. Linux: arch/x86/include/asm/pgtable.h:pud_mkspecial()
func (p PUD) MkSpecial() PUD { return p | PageSpecial }

// MkDevmap sets DEVMAP, where the flag exists. Linux 6.12: arch/x86/include/asm/pgtable.h:pud_mkdevmap()
func (p PUD) MkDevmap(a *ABI) PUD { return p | PUD(a.devmap) }

// MkHuge sets PSE. Linux: arch/x86/include/asm/pgtable.h:pud_mkhuge()
func (p PUD) MkHuge() PUD { return p | PagePSE }

// MkInvalid takes P away and keeps the frame (now inverted) and PSE. Linux: arch/x86/include/asm/pgtable.h:pud_mkinvalid()
func (p PUD) MkInvalid(a *ABI) PUD {
	return MkPUD(a, p.PFN(a), Prot(p.Flags(a)&^(PagePresent|PageProtnone)))
}

// Modify changes the protection as [PTE.Modify] does. 6.1 has no such function.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_modify()
func (p PUD) Modify(a *ABI, prot Prot) PUD {
	return PUD(a.modify(uint64(p), prot, a.hpageChange, a.hpageChange, a.pudFrame))
}

// None reports an empty slot. A and D may be set by an erratum and do not count.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_none()
func (p PUD) None() bool { return p&^PageKnlErratumMask == 0 }

// Dirty reports D, or SAVED_DIRTY where it exists.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_dirty()
func (p PUD) Dirty(a *ABI) bool { return uint64(p)&a.dirtyBits() != 0 }

// Young reports A. Linux: arch/x86/include/asm/pgtable.h:pud_young()
func (p PUD) Young() bool { return p&PageAccessed != 0 }

// Devmap reports device memory with struct pages, where the flag exists.
//
// Linux 6.12: arch/x86/include/asm/pgtable.h:pud_devmap()
func (p PUD) Devmap(a *ABI) bool { return uint64(p)&a.devmap != 0 }

// SoftDirty reports bit 11 of a present entry. Linux: arch/x86/include/asm/pgtable.h:pud_soft_dirty()
func (p PUD) SoftDirty() bool { return p&PageSoftDirty != 0 }

// AccessPermitted reports whether user code with this PKRU could read, or write, through the entry.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_access_permitted()
func (p PUD) AccessPermitted(write bool, pkru uint32) bool {
	return accessPermitted(uint64(p), write, pkru)
}

// MkSavedDirty moves D of a read-only entry to SAVED_DIRTY.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_mksaveddirty()
func (p PUD) MkSavedDirty(a *ABI) PUD { return PUD(a.mkSavedDirty(uint64(p))) }

// ClearSavedDirty moves SAVED_DIRTY of a writable entry to D.
//
// Linux: arch/x86/include/asm/pgtable.h:pud_clear_saveddirty()
func (p PUD) ClearSavedDirty(a *ABI) PUD { return PUD(a.clearSavedDirty(uint64(p))) }

// MkDirty sets the dirty state, and SOFT_DIRTY with it. Linux: arch/x86/include/asm/pgtable.h:pud_mkdirty()
func (p PUD) MkDirty(a *ABI) PUD { return PUD(a.mkDirty(uint64(p))) }

// MkClean clears the dirty state, wherever it is kept. Linux: arch/x86/include/asm/pgtable.h:pud_mkclean()
func (p PUD) MkClean(a *ABI) PUD { return PUD(uint64(p) &^ a.dirtyBits()) }

// MkYoung sets A. Linux: arch/x86/include/asm/pgtable.h:pud_mkyoung()
func (p PUD) MkYoung() PUD { return p | PageAccessed }

// MkOld clears A. Linux: arch/x86/include/asm/pgtable.h:pud_mkold()
func (p PUD) MkOld() PUD { return p &^ PageAccessed }

// MkSoftDirty sets SOFT_DIRTY. Linux: arch/x86/include/asm/pgtable.h:pud_mksoft_dirty()
func (p PUD) MkSoftDirty() PUD { return p | PageSoftDirty }

// ClearSoftDirty clears SOFT_DIRTY. Linux: arch/x86/include/asm/pgtable.h:pud_clear_soft_dirty()
func (p PUD) ClearSoftDirty() PUD { return p &^ PageSoftDirty }
