package mm

import "ptemu/arch/x86"

// Gain is a way in which an entry gains the write bit.
type Gain uint8

// The ways. Each names the kernel's path that ends in pte_mkwrite().
const (
	GainFault     Gain = iota + 1 // a write fault that made or found a page of its own: maybe_mkwrite()
	GainReuse                     // a write fault that takes the page: wp_page_reuse()
	GainSwapIn                    // do_swap_page()
	GainMigration                 // remove_migration_pte()
	GainNUMA                      // do_numa_page()
	GainUffdCopy                  // mfill_atomic_install_pte()
	GainUffdMove                  // move_present_pte()
	GainCollapse                  // collapse_huge_page()
	GainDevice                    // restore_exclusive_pte()
	GainFork                      // the child's own copy of a pinned page: copy_present_page()
	GainResolve                   // the drafts of 2019 only: the end of a userfaultfd write protection
)

var gainNames = [...]string{"", "fault", "reuse", "swap-in", "migration", "numa", "uffd-copy", "uffd-move", "collapse", "device", "fork", "uffd-resolve"}

func (g Gain) String() string { return gainNames[g] }

// Decision is what the gate said, for traces.
type Decision struct {
	Gain    Gain
	Allowed bool
	Entry   x86.PTE // as it came
}

// mkWrite lets e, an entry for an address of v, gain the write bit if the area and the entry's own state allow it. That
// the page may be written (exclusive, copied, shared and dirty) is what the caller has established: gain says how.
//
// An area must be writable. An entry that userfaultfd write-protects, or that must stay read-only so that soft-dirty
// tracking sees the first write, is the business of those paths that rebuild an entry without a write: a write fault
// has passed both before (handle_userfault comes first, and the write sets soft-dirty).
//
// Linux: include/linux/mm.h:maybe_mkwrite(); mm/memory.c:do_swap_page(); mm/migrate.c:remove_migration_pte()
func (m *Machine) mkWrite(v *VMA, va x86.Virt, e x86.PTE, gain Gain) x86.PTE {
	ok := m.mayGain(v, e, gain)
	m.event(Event{Kind: EventGate, VA: va, Tree: v.space.tree, Gate: Decision{gain, ok, e}})
	if !ok {
		return e
	}
	return e.MkWrite(m.abi)
}

func (m *Machine) mayGain(v *VMA, e x86.PTE, gain Gain) bool {
	switch gain {
	case GainMigration:
		// The entry says what the page had. Releases that trust it do not look at the area.
		return m.kernel.RestoreTrustsWrite || v.flags&x86.VMWrite != 0
	case GainUffdMove, GainNUMA:
		return true // the caller has asked mayUpgrade, or moves what is its own
	case GainSwapIn:
		if m.Policy.SwapInFlagsFirst && (v.uffdWPs(e) || v.softDirtyTracked() && !e.SoftDirty()) {
			return false
		}
	}
	return v.flags&x86.VMWrite != 0
}

// mayUpgrade reports whether e, a page of v that is mapped read-only, may be writable without a fault.
//
// Linux: mm/mprotect.c:can_change_pte_writable()
func (m *Machine) mayUpgrade(v *VMA, e x86.PTE) bool {
	switch {
	case v.flags&x86.VMWrite == 0, e.Protnone(), v.softDirtyTracked() && !e.SoftDirty(), v.uffdWPs(e):
		return false
	case v.flags&x86.VMShared != 0:
		return e.Dirty(m.abi)
	}
	pfn, ok := m.normal(e)
	return ok && m.anonPage(pfn) && m.exclusive(pfn)
}

// wantsUpgrade is vma_wants_manual_pte_write_upgrade().
func (v *VMA) wantsUpgrade() bool {
	if v.flags&x86.VMShared != 0 {
		return v.wantsWritenotify(v.prot)
	}
	return v.flags&x86.VMWrite != 0
}

// uffdWPs is userfaultfd_pte_wp(): the entry is write-protected, and the area still is registered.
func (v *VMA) uffdWPs(e x86.PTE) bool { return v.flags&VMUffdWP != 0 && e.UffdWP() }

// softDirtyTracked is vma_soft_dirty_enabled().
func (v *VMA) softDirtyTracked() bool { return v.flags&VMSoftDirty == 0 }

// changeFlags says what of the area decides whether change_protection() may make an entry writable: [Machine.mayUpgrade]
// for whole tables.
//
// Linux: mm/mprotect.c:can_change_pte_writable()
func (v *VMA) changeFlags() (f x86.ChangeFlags) {
	if v.shared() {
		f |= x86.ChangeShared
	}
	if v.flags&VMUffdWP != 0 {
		f |= x86.ChangeAreaUffdWP
	}
	if v.softDirtyTracked() {
		f |= x86.ChangeSoftDirtyTracked
	}
	return f
}

// mkWritePMD is [Machine.mkWrite] for a huge page.
//
// Linux: mm/huge_memory.c:maybe_pmd_mkwrite()
func (m *Machine) mkWritePMD(v *VMA, va x86.Virt, e x86.PMD, gain Gain) x86.PMD {
	ok := m.mayGain(v, x86.PTE(e), gain)
	m.event(Event{Kind: EventGate, VA: va, Tree: v.space.tree, Gate: Decision{gain, ok, x86.PTE(e)}})
	if !ok {
		return e
	}
	return e.MkWrite(m.abi)
}

// mayUpgradePMD is [Machine.mayUpgrade] for a huge page.
//
// Linux: mm/huge_memory.c:can_change_pmd_writable()
func (m *Machine) mayUpgradePMD(v *VMA, e x86.PMD) bool {
	switch {
	case v.flags&x86.VMWrite == 0, e.Protnone(), v.softDirtyTracked() && !e.SoftDirty(), v.flags&VMUffdWP != 0 && e.UffdWP():
		return false
	case v.shared():
		return e.Dirty(m.abi)
	}
	head, ok := m.normalPMD(e)
	return ok && m.anonPage(head) && m.exclusive(head)
}
