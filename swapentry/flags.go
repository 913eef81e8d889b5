package swapentry

import "ptemu/arch/x86"

// Leaf is an entry that can hold a swap form. Only a PTE has the exclusive flag.
type Leaf interface{ x86.PTE | x86.PMD }

// SwpMkSoftDirty sets the soft-dirty flag of a non-present entry.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_mksoft_dirty(), pmd_swp_mksoft_dirty()
func SwpMkSoftDirty[E Leaf](e E) E { return e | x86.PageSwpSoftDirty }

// SwpClearSoftDirty clears the soft-dirty flag of a non-present entry.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_clear_soft_dirty(), pmd_swp_clear_soft_dirty()
func SwpClearSoftDirty[E Leaf](e E) E { return e &^ x86.PageSwpSoftDirty }

// SwpSoftDirty reports the soft-dirty flag of a non-present entry.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_soft_dirty(), pmd_swp_soft_dirty()
func SwpSoftDirty[E Leaf](e E) bool { return e&x86.PageSwpSoftDirty != 0 }

// SwpMkUffdWP sets the uffd-wp flag of a non-present entry.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_mkuffd_wp(), pmd_swp_mkuffd_wp()
func SwpMkUffdWP[E Leaf](e E) E { return e | x86.PageSwpUffdWP }

// SwpClearUffdWP clears the uffd-wp flag of a non-present entry.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_clear_uffd_wp(), pmd_swp_clear_uffd_wp()
func SwpClearUffdWP[E Leaf](e E) E { return e &^ x86.PageSwpUffdWP }

// SwpUffdWP reports the uffd-wp flag of a non-present entry. A marker keeps the state elsewhere: see
// [Layout.PTESwpUffdWPAny].
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_uffd_wp(), pmd_swp_uffd_wp()
func SwpUffdWP[E Leaf](e E) bool { return e&x86.PageSwpUffdWP != 0 }

// PTESwpMkExclusive notes that a swapped page was exclusive to its process.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_mkexclusive()
func PTESwpMkExclusive(p x86.PTE) x86.PTE { return p | x86.PageSwpExclusive }

// PTESwpClearExclusive clears the exclusive flag.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_clear_exclusive()
func PTESwpClearExclusive(p x86.PTE) x86.PTE { return p &^ x86.PageSwpExclusive }

// PTESwpExclusive reports the exclusive flag.
//
// Linux: arch/x86/include/asm/pgtable.h:pte_swp_exclusive()
func PTESwpExclusive(p x86.PTE) bool { return p&x86.PageSwpExclusive != 0 }

// PTESwpClearFlags clears all three flags, which leaves type and offset.
//
// Linux: include/linux/swapops.h:pte_swp_clear_flags()
func PTESwpClearFlags(p x86.PTE) x86.PTE {
	return p &^ (x86.PageSwpSoftDirty | x86.PageSwpUffdWP | x86.PageSwpExclusive)
}

// PTESameAsSwp reports whether p, whatever its flags, is the flagless entry swp in all 64 bits.
//
// Linux: mm/swapfile.c:pte_same_as_swp()
func PTESameAsSwp(p, swp x86.PTE) bool { return PTESwpClearFlags(p) == swp }

// PTESwpMoveOffset returns the entry delta slots further, with the same type and flags (6.12 on).
//
// Linux: mm/internal.h:pte_move_swp_offset(); with delta 1 pte_next_swp_offset()
func (l *Layout) PTESwpMoveOffset(p x86.PTE, delta int64) x86.PTE {
	s := l.FromPTE(p)
	flags := p &^ PTESwpClearFlags(p)
	return MkSwp(s.Type(), s.Offset()+uint64(delta)).PTE() | flags
}

// SwapPTE reports whether a PTE is neither present nor none, so that it holds a swap form.
//
// Linux 6.12: include/linux/swapops.h:is_swap_pte()
func SwapPTE(p x86.PTE) bool { return !p.None() && !p.Present() }

// SwapPMD is [SwapPTE] for a PMD.
//
// Linux 6.12: include/linux/huge_mm.h:is_swap_pmd()
func SwapPMD(p x86.PMD) bool { return !p.None() && !p.Present() }

// PTEMarker reports whether a PTE is a marker.
//
// Linux: include/linux/leafops.h:pte_is_marker(); 6.12: include/linux/swapops.h:is_pte_marker()
func (l *Layout) PTEMarker(p x86.PTE) bool { return SwapPTE(p) && l.FromPTE(p).PTEMarker(l) }

// PTEUffdWPMarker reports whether a PTE is a marker that has the uffd-wp bit.
//
// Linux: include/linux/leafops.h:pte_is_uffd_wp_marker(); 6.12: include/linux/userfaultfd_k.h:pte_marker_uffd_wp()
func (l *Layout) PTEUffdWPMarker(p x86.PTE) bool { return SwapPTE(p) && l.FromPTE(p).UffdWPMarker(l) }

// PTEUffdMarker reports whether a PTE is a marker that userfaultfd may replace: uffd-wp or poisoned.
//
// Linux: include/linux/leafops.h:pte_is_uffd_marker()
func (l *Layout) PTEUffdMarker(p x86.PTE) bool {
	return SwapPTE(p) && l.FromPTE(p).marked(l, MarkerUffdWP|MarkerPoisoned)
}

// PTENoneMostly reports whether no page belongs to a PTE: none, or any marker.
//
// Linux 6.12: include/linux/swapops.h:pte_none_mostly()
func (l *Layout) PTENoneMostly(p x86.PTE) bool { return p.None() || l.PTEMarker(p) }

// PTESwpUffdWPAny reports whether a non-present PTE is uffd write-protected, by its flag or as a marker.
//
// Linux: include/linux/userfaultfd_k.h:pte_swp_uffd_wp_any()
func (l *Layout) PTESwpUffdWPAny(p x86.PTE) bool {
	return !p.Present() && (SwpUffdWP(p) || l.PTEUffdWPMarker(p))
}

// PMDMigration reports whether a PMD is a migration entry.
//
// Linux: include/linux/leafops.h:pmd_is_migration_entry(); 6.12: include/linux/swapops.h:is_pmd_migration_entry()
func (l *Layout) PMDMigration(p x86.PMD) bool { return SwapPMD(p) && l.FromPMD(p).Migration(l) }

// PMDDevicePrivate reports whether a PMD is a device-private entry (7.2; false before).
//
// Linux: include/linux/leafops.h:pmd_is_device_private_entry()
func (l *Layout) PMDDevicePrivate(p x86.PMD) bool {
	return l.softleaf && SwapPMD(p) && l.FromPMD(p).DevicePrivate(l)
}

// PMDValidSoftleaf reports whether a PMD holds one of the kinds that a PMD can hold.
//
// Linux: include/linux/leafops.h:pmd_is_valid_softleaf()
func (l *Layout) PMDValidSoftleaf(p x86.PMD) bool { return SwapPMD(p) && l.FromPMD(p).ValidPMD(l) }

// PMDHuge reports whether a PMD stands for a huge page: a leaf, or anything that is neither present nor none.
//
// Linux: include/linux/huge_mm.h:pmd_is_huge()
func (l *Layout) PMDHuge(p x86.PMD) bool {
	if p.Present() {
		return p.TransHuge(l.abi)
	}
	return !p.None()
}
