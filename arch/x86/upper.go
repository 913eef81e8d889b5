package x86

// P4D is an entry of the table above the PUD tables: with four levels the root's, with five one below it. It
// only ever points to a table.
//
// Linux: arch/x86/include/asm/pgtable_types.h:p4d_t
type P4D uint64

// None reports an empty slot. Linux: arch/x86/include/asm/pgtable.h:p4d_none()
func (p P4D) None() bool { return p&^PageKnlErratumMask == 0 }

// Present reports P. Linux: arch/x86/include/asm/pgtable.h:p4d_present()
func (p P4D) Present() bool { return p&PagePresent != 0 }

// Leaf is false: no processor has 512 GiB pages. Linux: include/linux/pgtable.h:p4d_leaf()
func (p P4D) Leaf() bool { return false }

// Bad reports an entry that is not a sound pointer to a PUD table. Linux: arch/x86/include/asm/pgtable.h:p4d_bad()
func (p P4D) Bad(a *ABI) bool {
	return p.Flags(a)&^(PageKernPgTable|PageUser|PageNX|a.paging.EncMask) != 0
}

// PFN returns the frame of the PUD table; it is never inverted. Linux: arch/x86/include/asm/pgtable.h:p4d_pfn()
func (p P4D) PFN(a *ABI) PFN { return PFN(uint64(p) & a.pteFrame >> PageShift) }

// Flags returns the bits that are not part of the frame. Linux: arch/x86/include/asm/pgtable_types.h:p4d_flags()
func (p P4D) Flags(a *ABI) uint64 { return uint64(p) &^ a.pteFrame }

// PGD is an entry of the root table of five-level paging. With four levels Linux keeps the type but folds the
// level into the P4D: every PGD then counts as present and sound.
//
// Linux: arch/x86/include/asm/pgtable_types.h:pgd_t
type PGD uint64

// None reports an entry of exactly zero; with four levels it is false.
//
// Linux: arch/x86/include/asm/pgtable.h:pgd_none()
func (p PGD) None(a *ABI) bool { return a.paging.Levels == 5 && p == 0 }

// Present reports P; with four levels it is true. Linux: arch/x86/include/asm/pgtable.h:pgd_present()
func (p PGD) Present(a *ABI) bool { return a.paging.Levels == 4 || p&PagePresent != 0 }

// Leaf is false: there is no page of this size. Linux: include/linux/pgtable.h:pgd_leaf()
func (p PGD) Leaf() bool { return false }

// Bad reports an entry that is not a sound pointer to a P4D table; with four levels it is false.
//
// Linux: arch/x86/include/asm/pgtable.h:pgd_bad()
func (p PGD) Bad(a *ABI) bool {
	return a.paging.Levels == 5 &&
		p.Flags(a)&^(PageUser|PageNX) != PageKernPgTable|a.paging.EncMask
}

// PFN returns the frame of the P4D table; it is never inverted.
//
// Linux: arch/x86/include/asm/pgtable_types.h:pgd_val() and PTE_PFN_MASK
func (p PGD) PFN(a *ABI) PFN { return PFN(uint64(p) & a.pteFrame >> PageShift) }

// Flags returns the bits that are not part of the frame. Linux: arch/x86/include/asm/pgtable_types.h:pgd_flags()
func (p PGD) Flags(a *ABI) uint64 { return uint64(p) &^ a.pteFrame }
