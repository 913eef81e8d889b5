package swapentry

import "ptemu/arch/x86"

// LeafType is enum softleaf_type: what 7.2 says that an entry is.
//
// Linux: include/linux/leafops.h:enum softleaf_type
type LeafType uint8

// The softleaf types, with the kernel's numbers.
const (
	LeafNone LeafType = iota
	LeafSwap
	LeafMigrationRead
	LeafMigrationReadExclusive
	LeafMigrationWrite
	LeafDevicePrivateRead
	LeafDevicePrivateWrite
	LeafDeviceExclusive
	LeafHWPoison
	LeafMarker
)

// None reports whether the entry names nothing: only the value 0, and only where there are softleaves (7.2).
// Elsewhere 0 is slot 0 of swap device 0.
//
// Linux: include/linux/leafops.h:softleaf_is_none()
func (s Swp) None(l *Layout) bool { return l.softleaf && s == 0 }

// LeafType classifies the entry. It answers for the older kernels too, where it counts their swap-in error as
// LeafNone.
//
// Linux: include/linux/leafops.h:softleaf_type()
func (s Swp) LeafType(l *Layout) LeafType {
	t := &l.types
	switch typ := s.Type(); {
	case s.None(l):
		return LeafNone
	case typ < t.MaxSwapfiles:
		return LeafSwap
	case typ == t.MigrationRead:
		return LeafMigrationRead
	case typ == t.MigrationReadExclusive:
		return LeafMigrationReadExclusive
	case typ == t.MigrationWrite:
		return LeafMigrationWrite
	case typ == t.DevicePrivateRead:
		return LeafDevicePrivateRead
	case typ == t.DevicePrivateWrite:
		return LeafDevicePrivateWrite
	case s.DeviceExclusive(l):
		return LeafDeviceExclusive
	case typ == t.HWPoison:
		return LeafHWPoison
	case typ == t.Marker:
		return LeafMarker
	}
	return LeafNone
}

// Swap reports whether the entry is a slot of a swap device.
//
// Linux: include/linux/leafops.h:softleaf_is_swap()
func (s Swp) Swap(l *Layout) bool { return !s.NonSwap(l) }

// NonSwap reports whether the entry is anything but a slot of a swap device.
//
// Linux 6.12: include/linux/swapops.h:non_swap_entry()
func (s Swp) NonSwap(l *Layout) bool { return s.None(l) || s.Type() >= l.types.MaxSwapfiles }

// Migration reports whether the page is in migration, in any of the three ways.
//
// Linux: include/linux/leafops.h:softleaf_is_migration(); 6.12: include/linux/swapops.h:is_migration_entry()
func (s Swp) Migration(l *Layout) bool {
	return s.ReadableMigration(l) || s.ReadableExclusiveMigration(l) || s.WritableMigration(l)
}

// ReadableMigration reports a migration entry of a read-only, maybe shared page.
//
// Linux: include/linux/leafops.h:softleaf_is_migration_read(); 6.12: is_readable_migration_entry()
func (s Swp) ReadableMigration(l *Layout) bool { return s.Type() == l.types.MigrationRead }

// ReadableExclusiveMigration reports a migration entry of a read-only, anon-exclusive page.
//
// Linux: include/linux/leafops.h:softleaf_is_migration_read_exclusive();
// 6.12: is_readable_exclusive_migration_entry()
func (s Swp) ReadableExclusiveMigration(l *Layout) bool {
	return s.Type() == l.types.MigrationReadExclusive
}

// WritableMigration reports a migration entry of a writable page.
//
// Linux: include/linux/leafops.h:softleaf_is_migration_write(); 6.12: is_writable_migration_entry()
func (s Swp) WritableMigration(l *Layout) bool { return s.Type() == l.types.MigrationWrite }

// MigrationYoung reports, of a migration entry, that the page was accessed. Without room for it: false.
//
// Linux: include/linux/leafops.h:softleaf_is_migration_young(); 6.12: is_migration_entry_young()
func (s Swp) MigrationYoung(l *Layout) bool { return l.ad && s.Offset()&l.young != 0 }

// MigrationDirty reports, of a migration entry, that the page was written. Without room for it: false.
//
// Linux: include/linux/leafops.h:softleaf_is_migration_dirty(); 6.12: is_migration_entry_dirty()
func (s Swp) MigrationDirty(l *Layout) bool { return l.ad && s.Offset()&l.dirty != 0 }

// DevicePrivate reports whether the page lies in device memory that the CPU cannot reach.
//
// Linux: include/linux/leafops.h:softleaf_is_device_private(); 6.12: is_device_private_entry()
func (s Swp) DevicePrivate(l *Layout) bool {
	return s.Type() == l.types.DevicePrivateRead || s.WritableDevicePrivate(l)
}

// WritableDevicePrivate reports a device-private entry that was mapped writable.
//
// Linux: include/linux/leafops.h:softleaf_is_device_private_write(); 6.12: is_writable_device_private_entry()
func (s Swp) WritableDevicePrivate(l *Layout) bool { return s.Type() == l.types.DevicePrivateWrite }

// DeviceExclusive reports whether a device has the page for itself.
//
// Linux: include/linux/leafops.h:softleaf_is_device_exclusive(); 6.12: is_device_exclusive_entry()
func (s Swp) DeviceExclusive(l *Layout) bool {
	return s.Type() == l.types.DeviceExclusiveRead || s.WritableDeviceExclusive(l)
}

// WritableDeviceExclusive reports a device-exclusive entry that was mapped writable; in 7.2 all are.
//
// Linux 6.12: include/linux/swapops.h:is_writable_device_exclusive_entry()
func (s Swp) WritableDeviceExclusive(l *Layout) bool { return s.Type() == l.types.DeviceExclusiveWrite }

// HWPoison reports whether the frame has failed.
//
// Linux: include/linux/leafops.h:softleaf_is_hwpoison(); 6.12: is_hwpoison_entry()
func (s Swp) HWPoison(l *Layout) bool { return s.Type() == l.types.HWPoison }

// SwapinError reports 6.1's own type for a page that could not be read back.
//
// Linux 6.1: include/linux/swapops.h:is_swapin_error_entry()
func (s Swp) SwapinError(l *Layout) bool { return s.Type() == l.types.SwapinError }

// HasPFN reports whether the offset is a frame number: migration, device and hwpoison entries.
//
// Linux: include/linux/leafops.h:softleaf_has_pfn(); 6.12: include/linux/swapops.h:is_pfn_swap_entry()
func (s Swp) HasPFN(l *Layout) bool {
	return s.Migration(l) || s.DevicePrivate(l) || s.DeviceExclusive(l) || s.HWPoison(l)
}

// PFN returns the frame of an entry that has one.
//
// Linux: include/linux/leafops.h:softleaf_to_pfn(); 6.12: include/linux/swapops.h:swp_offset_pfn()
func (s Swp) PFN(l *Layout) x86.PFN { return x86.PFN(s.Offset() & l.pfnMask()) }

// PTEMarker reports whether the entry is a marker: no page, only a remark about its place.
//
// Linux: include/linux/leafops.h:softleaf_is_marker(); 6.12: include/linux/swapops.h:is_pte_marker_entry()
func (s Swp) PTEMarker(l *Layout) bool { return s.Type() == l.types.Marker }

// Marker returns the bits of a marker that the kernel knows.
//
// Linux: include/linux/leafops.h:softleaf_to_marker(); 6.12: include/linux/swapops.h:pte_marker_get()
func (s Swp) Marker(l *Layout) Marker { return Marker(s.Offset()) & l.markers }

func (s Swp) marked(l *Layout, m Marker) bool { return s.PTEMarker(l) && s.Marker(l)&m != 0 }

// UffdWPMarker reports a marker that has the uffd-wp bit.
//
// Linux: include/linux/leafops.h:softleaf_is_uffd_wp_marker(); 6.12: pte_marker_entry_uffd_wp()
func (s Swp) UffdWPMarker(l *Layout) bool { return s.marked(l, MarkerUffdWP) }

// PoisonMarker reports a marker that has the poisoned bit.
//
// Linux: include/linux/leafops.h:softleaf_is_poison_marker(); 6.12: is_poisoned_swp_entry()
func (s Swp) PoisonMarker(l *Layout) bool { return s.marked(l, MarkerPoisoned) }

// GuardMarker reports a marker that has the guard bit.
//
// Linux: include/linux/leafops.h:softleaf_is_guard_marker()
func (s Swp) GuardMarker(l *Layout) bool { return s.marked(l, MarkerGuard) }

// ValidPMD reports whether the entry may stand in a PMD: migration, and from 7.2 on device-private.
//
// Linux: include/linux/leafops.h:softleaf_is_valid_pmd_entry()
func (s Swp) ValidPMD(l *Layout) bool {
	return s.Migration(l) || l.softleaf && s.DevicePrivate(l)
}
