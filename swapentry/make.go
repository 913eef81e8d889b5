package swapentry

import "ptemu/arch/x86"

// The makers of the special kinds. For a kind that the kernel does not have they return 0, as the kernel's stubs do
// without CONFIG_DEVICE_PRIVATE.

func (l *Layout) special(typ uint8, offset uint64) Swp {
	if typ == NoType {
		return 0
	}
	return MkSwp(typ, offset)
}

// MakeReadableMigrationEntry notes a page in migration that was mapped read-only and maybe shared.
//
// Linux: include/linux/swapops.h:make_readable_migration_entry()
func (l *Layout) MakeReadableMigrationEntry(pfn x86.PFN) Swp {
	return l.special(l.types.MigrationRead, uint64(pfn))
}

// MakeReadableExclusiveMigrationEntry notes a page in migration that was mapped read-only and is anon-exclusive.
//
// Linux: include/linux/swapops.h:make_readable_exclusive_migration_entry()
func (l *Layout) MakeReadableExclusiveMigrationEntry(pfn x86.PFN) Swp {
	return l.special(l.types.MigrationReadExclusive, uint64(pfn))
}

// MakeWritableMigrationEntry notes a page in migration that was mapped writable.
//
// Linux: include/linux/swapops.h:make_writable_migration_entry()
func (l *Layout) MakeWritableMigrationEntry(pfn x86.PFN) Swp {
	return l.special(l.types.MigrationWrite, uint64(pfn))
}

// MakeMigrationEntryYoung keeps in a migration entry that the page was accessed, where there is room for it.
//
// Linux: include/linux/swapops.h:make_migration_entry_young()
func (l *Layout) MakeMigrationEntryYoung(s Swp) Swp {
	if !l.ad {
		return s
	}
	return MkSwp(s.Type(), s.Offset()|l.young)
}

// MakeMigrationEntryDirty keeps in a migration entry that the page was written, where there is room for it.
//
// Linux: include/linux/swapops.h:make_migration_entry_dirty()
func (l *Layout) MakeMigrationEntryDirty(s Swp) Swp {
	if !l.ad {
		return s
	}
	return MkSwp(s.Type(), s.Offset()|l.dirty)
}

// MakeReadableDevicePrivateEntry notes a page that lies in device memory and was mapped read-only.
//
// Linux: include/linux/swapops.h:make_readable_device_private_entry()
func (l *Layout) MakeReadableDevicePrivateEntry(pfn x86.PFN) Swp {
	return l.special(l.types.DevicePrivateRead, uint64(pfn))
}

// MakeWritableDevicePrivateEntry notes a page that lies in device memory and was mapped writable.
//
// Linux: include/linux/swapops.h:make_writable_device_private_entry()
func (l *Layout) MakeWritableDevicePrivateEntry(pfn x86.PFN) Swp {
	return l.special(l.types.DevicePrivateWrite, uint64(pfn))
}

// MakeReadableDeviceExclusiveEntry notes a page that a device uses alone and that was mapped read-only.
//
// Linux 6.12: include/linux/swapops.h:make_readable_device_exclusive_entry()
func (l *Layout) MakeReadableDeviceExclusiveEntry(pfn x86.PFN) Swp {
	return l.special(l.types.DeviceExclusiveRead, uint64(pfn))
}

// MakeWritableDeviceExclusiveEntry notes a page that a device uses alone and that was mapped writable: the only
// kind of device-exclusive entry in 7.2.
//
// Linux: include/linux/swapops.h:make_device_exclusive_entry(); 6.12: make_writable_device_exclusive_entry()
func (l *Layout) MakeWritableDeviceExclusiveEntry(pfn x86.PFN) Swp {
	return l.special(l.types.DeviceExclusiveWrite, uint64(pfn))
}

// MakeHWPoisonEntry notes a page whose frame has failed.
//
// Linux: include/linux/swapops.h:make_hwpoison_entry()
func (l *Layout) MakeHWPoisonEntry(pfn x86.PFN) Swp {
	return l.special(l.types.HWPoison, uint64(pfn))
}

// MakeSwapinErrorEntry notes a page that could not be read back from swap (6.1).
//
// Linux 6.1: include/linux/swapops.h:make_swapin_error_entry()
func (l *Layout) MakeSwapinErrorEntry(pfn x86.PFN) Swp {
	return l.special(l.types.SwapinError, uint64(pfn))
}

// MakePTEMarkerEntry returns a marker with the given bits, which the kernel does not check.
//
// Linux: include/linux/swapops.h:make_pte_marker_entry()
func (l *Layout) MakePTEMarkerEntry(m Marker) Swp {
	return l.special(l.types.Marker, uint64(m))
}

// MakePTEMarker is [Layout.MakePTEMarkerEntry] as a page-table entry.
//
// Linux: include/linux/swapops.h:make_pte_marker()
func (l *Layout) MakePTEMarker(m Marker) x86.PTE { return l.MakePTEMarkerEntry(m).PTE() }

// MakePoisonedEntry returns the marker of a page that cannot be read (6.12 on).
//
// Linux: include/linux/swapops.h:make_poisoned_swp_entry()
func (l *Layout) MakePoisonedEntry() Swp { return l.MakePTEMarkerEntry(MarkerPoisoned) }

// MakeGuardEntry returns the marker of a guard page (7.2).
//
// Linux: include/linux/swapops.h:make_guard_swp_entry()
func (l *Layout) MakeGuardEntry() Swp { return l.MakePTEMarkerEntry(MarkerGuard) }
