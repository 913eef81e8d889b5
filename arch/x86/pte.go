package x86

// PTE is an entry of the lowest table: a 4 KiB page, or what stands in its place while it is not there.
//
// Linux: arch/x86/include/asm/pgtable_64_types.h:pte_t
type PTE uint64

// MkPTE returns an entry for frame pfn with protection prot. A protection without P yields an inverted frame.
//
// Linux: arch/x86/include/asm/pgtable.h:pfn_pte(), mk_pte()
func MkPTE(a *ABI, pfn PFN, prot Prot) PTE { return PTE(a.mkPFN(pfn, prot, a.pteFrame)) }

// None reports an empty slot. A and D may be set by an erratum and do not count.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_none()
func (p PTE) None() bool { return p&^PageKnlErratumMask == 0 }

// Present reports a page that exists: P, or PROT_NONE without P.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_present()
func (p PTE) Present() bool { return p&(PagePresent|PageProtnone) != 0 }

// Protnone reports a page that exists and permits nothing: mprotect(PROT_NONE) or a NUMA hint.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_protnone()
func (p PTE) Protnone() bool { return p&(PagePresent|PageProtnone) == PageProtnone }

// Accessible reports whether a processor may have the entry cached: P, or PROT_NONE that took P away while a flush
// of the address space is still owed (mm_tlb_flush_pending).
//
// Linux: arch/x86/include/asm/pgtable.h:pte_accessible()
func (p PTE) Accessible(flushPending bool) bool {
	return p&PagePresent != 0 || flushPending && p.Protnone()
}

// PFN returns the frame, un-inverted if need be.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_pfn()
func (p PTE) PFN(a *ABI) PFN {
	return PFN((uint64(p) ^ protnoneMask(uint64(p))) & a.pteFrame >> PageShift)
}

// Flags returns the bits that are not part of the frame.
//
// Linux: arch/x86/include/asm/pgtable_types.h:pte_flags()
func (p PTE) Flags(a *ABI) uint64 { return uint64(p) &^ a.pteFrame }

// Decrypted reports that the page is not encrypted: the bit of AMD's memory encryption is clear, or there is none.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_decrypted()
func (p PTE) Decrypted(a *ABI) bool { return uint64(p)&a.paging.EncMask == 0 }

// Pkey returns the protection key, 0 to 15.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_flags_pkey()
func (p PTE) Pkey() int { return int(p & PagePkeyMask >> PageBitPkey0) }

// Write reports that a write is allowed by this entry: RW, or a shadow-stack page.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_write()
func (p PTE) Write(a *ABI) bool { return p&PageRW != 0 || p.Shstk(a) }

// Shstk reports a shadow-stack page: RW=0, D=1 on a processor with shadow stacks.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_shstk()
func (p PTE) Shstk(a *ABI) bool { return a.shadowStack && p&(PageRW|PageDirty) == PageDirty }

// Dirty reports D, or SAVED_DIRTY where it exists.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_dirty()
func (p PTE) Dirty(a *ABI) bool { return uint64(p)&a.dirtyBits() != 0 }

// Young reports A. Linux: arch/x86/include/asm/pgtable.h:pte_young()
func (p PTE) Young() bool { return p&PageAccessed != 0 }

// Exec reports that NX is clear. Linux: arch/x86/include/asm/pgtable.h:pte_exec()
func (p PTE) Exec() bool { return p&PageNX == 0 }

// Global reports GLOBAL (or PROTNONE, the same bit). Linux: arch/x86/include/asm/pgtable.h:pte_global()
func (p PTE) Global() bool { return p&PageGlobal != 0 }

// Huge reports bit 7, which in a hugetlb "pte" means a large page. Linux: arch/x86/include/asm/pgtable.h:pte_huge()
func (p PTE) Huge() bool { return p&PagePSE != 0 }

// Special reports a mapping without struct page. Linux: arch/x86/include/asm/pgtable.h:pte_special()
func (p PTE) Special() bool { return p&PageSpecial != 0 }

// Devmap reports device memory with struct pages, where the flag exists.
//
// Linux 6.12: arch/x86/include/asm/pgtable.h:pte_devmap()
func (p PTE) Devmap(a *ABI) bool { return uint64(p)&a.devmap != 0 }

// SoftDirty reports bit 11 of a present entry. Linux: arch/x86/include/asm/pgtable.h:pte_soft_dirty()
func (p PTE) SoftDirty() bool { return p&PageSoftDirty != 0 }

// UffdWP reports bit 10 of a present entry. Linux: arch/x86/include/asm/pgtable.h:pte_uffd_wp()
func (p PTE) UffdWP() bool { return p&PageUffdWP != 0 }

// AccessPermitted reports whether user code with this PKRU could read, or write, through the entry.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_access_permitted()
func (p PTE) AccessPermitted(write bool, pkru uint32) bool {
	return accessPermitted(uint64(p), write, pkru)
}

// WrProtect takes write permission away; a dirty entry keeps its dirtiness in SAVED_DIRTY where that exists.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_wrprotect()
func (p PTE) WrProtect(a *ABI) PTE { return PTE(a.wrProtect(uint64(p))) }

// MkWriteNoVMA sets RW and nothing else. Linux: arch/x86/include/asm/pgtable.h:pte_mkwrite_novma()
func (p PTE) MkWriteNoVMA() PTE { return p | PageRW }

// MkWrite sets RW as for an ordinary writable VMA, and moves a saved dirty state back to D. For a shadow-stack
// VMA the kernel's pte_mkwrite() is [PTE.MkWriteShstk]; [PTE.MaybeMkWrite] asks the VMA. (6.1's pte_mk_savedwrite(),
// pte_savedwrite() and pte_clear_savedwrite() are MkWrite, Write and WrProtect.)
//
// Linux: arch/x86/mm/pgtable.c:pte_mkwrite()
func (p PTE) MkWrite(a *ABI) PTE { return PTE(a.clearSavedDirty(uint64(p | PageRW))) }

// MkWriteShstk makes a shadow-stack page: RW=0, D=1. SAVED_DIRTY is left alone.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_mkwrite_shstk()
func (p PTE) MkWriteShstk() PTE { return p&^PageRW | PageDirty }

// MaybeMkWrite permits writing as an area with flags f wants it: not at all without VM_WRITE, as a shadow-stack page
// with VM_SHADOW_STACK, else as [PTE.MkWrite] does.
//
// Linux: include/linux/mm.h:maybe_mkwrite(); arch/x86/mm/pgtable.c:pte_mkwrite()
func (p PTE) MaybeMkWrite(a *ABI, f VMFlags) PTE {
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
// Linux: arch/x86/include/asm/pgtable.h:pte_mksaveddirty()
func (p PTE) MkSavedDirty(a *ABI) PTE { return PTE(a.mkSavedDirty(uint64(p))) }

// ClearSavedDirty moves SAVED_DIRTY of a writable entry to D.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_clear_saveddirty()
func (p PTE) ClearSavedDirty(a *ABI) PTE { return PTE(a.clearSavedDirty(uint64(p))) }

// MkDirty sets the dirty state, and SOFT_DIRTY with it. Linux: arch/x86/include/asm/pgtable.h:pte_mkdirty()
func (p PTE) MkDirty(a *ABI) PTE { return PTE(a.mkDirty(uint64(p))) }

// MkClean clears the dirty state, wherever it is kept. Linux: arch/x86/include/asm/pgtable.h:pte_mkclean()
func (p PTE) MkClean(a *ABI) PTE { return PTE(uint64(p) &^ a.dirtyBits()) }

// MkYoung sets A. Linux: arch/x86/include/asm/pgtable.h:pte_mkyoung()
func (p PTE) MkYoung() PTE { return p | PageAccessed }

// MkOld clears A. Linux: arch/x86/include/asm/pgtable.h:pte_mkold()
func (p PTE) MkOld() PTE { return p &^ PageAccessed }

// MkExec clears NX. Linux: arch/x86/include/asm/pgtable.h:pte_mkexec()
func (p PTE) MkExec() PTE { return p &^ PageNX }

// MkHuge sets bit 7. Linux: arch/x86/include/asm/pgtable.h:pte_mkhuge()
func (p PTE) MkHuge() PTE { return p | PagePSE }

// ClrHuge clears bit 7. Linux: arch/x86/include/asm/pgtable.h:pte_clrhuge()
func (p PTE) ClrHuge() PTE { return p &^ PagePSE }

// MkGlobal sets GLOBAL. Linux: arch/x86/include/asm/pgtable.h:pte_mkglobal()
func (p PTE) MkGlobal() PTE { return p | PageGlobal }

// ClrGlobal clears GLOBAL. Linux: arch/x86/include/asm/pgtable.h:pte_clrglobal()
func (p PTE) ClrGlobal() PTE { return p &^ PageGlobal }

// MkSpecial sets SPECIAL. Linux: arch/x86/include/asm/pgtable.h:pte_mkspecial()
func (p PTE) MkSpecial() PTE { return p | PageSpecial }

// MkDevmap sets SPECIAL and DEVMAP, where the flag exists. Linux 6.12: arch/x86/include/asm/pgtable.h:pte_mkdevmap()
func (p PTE) MkDevmap(a *ABI) PTE { return p | PTE(PageSpecial|a.devmap) }

// MkSoftDirty sets SOFT_DIRTY. Linux: arch/x86/include/asm/pgtable.h:pte_mksoft_dirty()
func (p PTE) MkSoftDirty() PTE { return p | PageSoftDirty }

// ClearSoftDirty clears SOFT_DIRTY. Linux: arch/x86/include/asm/pgtable.h:pte_clear_soft_dirty()
func (p PTE) ClearSoftDirty() PTE { return p &^ PageSoftDirty }

// MkUffdWP sets UFFD_WP. Since 6.3 it write-protects too; in 6.1 RW stays as it is.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_mkuffd_wp()
func (p PTE) MkUffdWP(a *ABI) PTE { return PTE(a.mkUffdWP(uint64(p))) }

// ClearUffdWP clears UFFD_WP and does not give write permission back.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_clear_uffd_wp()
func (p PTE) ClearUffdWP() PTE { return p &^ PageUffdWP }

// Modify changes the protection: frame, cache mode, A, dirty state and software bits stay, the rest comes from
// prot; the frame is inverted or restored when P goes or comes.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_modify()
func (p PTE) Modify(a *ABI, prot Prot) PTE {
	return PTE(a.modify(uint64(p), prot, a.pteChange, a.pteChange, a.pteFrame))
}

// AdvancePFN returns the entry for the n-th following frame. Linux: arch/x86/include/asm/pgtable.h:pte_advance_pfn()
func (p PTE) AdvancePFN(n uint64) PTE {
	if protnoneMask(uint64(p)) != 0 {
		return p - PTE(n<<PageShift)
	}
	return p + PTE(n<<PageShift)
}
