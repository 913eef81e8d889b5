package vectors

import (
	"ptemu/arch/x86"
	"ptemu/swapentry"
)

type (
	layout = swapentry.Layout
	swp    = swapentry.Swp
)

var swapFunctions = map[string]function{
	"swp_entry": {2, func(_ *Config, in []uint64) uint64 {
		return uint64(swapentry.MkSwp(uint8(in[0]), in[1]))
	}},
	"swp_type":                value(func(s swp) uint64 { return uint64(s.Type()) }),
	"swp_offset":              value(swp.Offset),
	"swp_entry_to_pte":        value(swp.PTE),
	"swp_entry_to_pmd":        value(swp.PMD),
	"pte_to_swp_entry":        valueIn((*layout).FromPTE),
	"pte_to_swp_entry.type":   valueIn(func(l *layout, p x86.PTE) uint64 { return uint64(l.FromPTE(p).Type()) }),
	"pte_to_swp_entry.offset": valueIn(func(l *layout, p x86.PTE) uint64 { return l.FromPTE(p).Offset() }),
	"pmd_to_swp_entry":        valueIn((*layout).FromPMD),
	"softleaf_from_pte":       valueIn((*layout).FromPTE),
	"softleaf_from_pmd":       valueIn((*layout).FromPMD),

	"make_readable_migration_entry":           valueIn((*layout).MakeReadableMigrationEntry),
	"make_readable_exclusive_migration_entry": valueIn((*layout).MakeReadableExclusiveMigrationEntry),
	"make_writable_migration_entry":           valueIn((*layout).MakeWritableMigrationEntry),
	"make_migration_entry_young":              valueIn((*layout).MakeMigrationEntryYoung),
	"make_migration_entry_dirty":              valueIn((*layout).MakeMigrationEntryDirty),
	"make_readable_device_private_entry":      valueIn((*layout).MakeReadableDevicePrivateEntry),
	"make_writable_device_private_entry":      valueIn((*layout).MakeWritableDevicePrivateEntry),
	"make_readable_device_exclusive_entry":    valueIn((*layout).MakeReadableDeviceExclusiveEntry),
	"make_writable_device_exclusive_entry":    valueIn((*layout).MakeWritableDeviceExclusiveEntry),
	"make_device_exclusive_entry":             valueIn((*layout).MakeWritableDeviceExclusiveEntry),
	"make_hwpoison_entry":                     valueIn((*layout).MakeHWPoisonEntry),
	"make_swapin_error_entry":                 valueIn((*layout).MakeSwapinErrorEntry),
	"make_pte_marker_entry":                   valueIn((*layout).MakePTEMarkerEntry),
	"make_pte_marker":                         valueIn((*layout).MakePTEMarker),
	"make_poisoned_swp_entry":                 fixed((*layout).MakePoisonedEntry),
	"make_guard_swp_entry":                    fixed((*layout).MakeGuardEntry),

	"non_swap_entry":                        predOf(swp.NonSwap),
	"is_migration_entry":                    predOf(swp.Migration),
	"is_readable_migration_entry":           predOf(swp.ReadableMigration),
	"is_readable_exclusive_migration_entry": predOf(swp.ReadableExclusiveMigration),
	"is_writable_migration_entry":           predOf(swp.WritableMigration),
	"is_migration_entry_young":              predOf(swp.MigrationYoung),
	"is_migration_entry_dirty":              predOf(swp.MigrationDirty),
	"is_device_private_entry":               predOf(swp.DevicePrivate),
	"is_writable_device_private_entry":      predOf(swp.WritableDevicePrivate),
	"is_device_exclusive_entry":             predOf(swp.DeviceExclusive),
	"is_writable_device_exclusive_entry":    predOf(swp.WritableDeviceExclusive),
	"is_hwpoison_entry":                     predOf(swp.HWPoison),
	"is_swapin_error_entry":                 predOf(swp.SwapinError),
	"is_pfn_swap_entry":                     predOf(swp.HasPFN),
	"is_pte_marker_entry":                   predOf(swp.PTEMarker),
	"is_poisoned_swp_entry":                 predOf(swp.PoisonMarker),
	"is_guard_swp_entry":                    predOf(swp.GuardMarker),
	"pte_marker_entry_uffd_wp":              predOf(swp.UffdWPMarker),
	"softleaf_is_none":                      predOf(swp.None),
	"softleaf_is_swap":                      predOf(swp.Swap),
	"softleaf_is_valid_pmd_entry":           predOf(swp.ValidPMD),
	"softleaf_type":                         valueIn(func(l *layout, s swp) uint64 { return uint64(s.LeafType(l)) }),
	"swp_offset_pfn":                        valueIn(func(l *layout, s swp) x86.PFN { return s.PFN(l) }),
	"pte_marker_get":                        valueIn(func(l *layout, s swp) swapentry.Marker { return s.Marker(l) }),
}

var swapFlagFunctions = map[string]function{
	"pte_swp_mksoft_dirty":     value(swapentry.SwpMkSoftDirty[x86.PTE]),
	"pte_swp_clear_soft_dirty": value(swapentry.SwpClearSoftDirty[x86.PTE]),
	"pte_swp_soft_dirty":       pred(swapentry.SwpSoftDirty[x86.PTE]),
	"pte_swp_mkuffd_wp":        value(swapentry.SwpMkUffdWP[x86.PTE]),
	"pte_swp_clear_uffd_wp":    value(swapentry.SwpClearUffdWP[x86.PTE]),
	"pte_swp_uffd_wp":          pred(swapentry.SwpUffdWP[x86.PTE]),
	"pte_swp_mkexclusive":      value(swapentry.PTESwpMkExclusive),
	"pte_swp_clear_exclusive":  value(swapentry.PTESwpClearExclusive),
	"pte_swp_exclusive":        pred(swapentry.PTESwpExclusive),
	"pte_swp_clear_flags":      value(swapentry.PTESwpClearFlags),
	"pte_swp_uffd_wp_any":      predIn((*layout).PTESwpUffdWPAny),
	"pmd_swp_mksoft_dirty":     value(swapentry.SwpMkSoftDirty[x86.PMD]),
	"pmd_swp_clear_soft_dirty": value(swapentry.SwpClearSoftDirty[x86.PMD]),
	"pmd_swp_soft_dirty":       pred(swapentry.SwpSoftDirty[x86.PMD]),
	"pmd_swp_mkuffd_wp":        value(swapentry.SwpMkUffdWP[x86.PMD]),
	"pmd_swp_clear_uffd_wp":    value(swapentry.SwpClearUffdWP[x86.PMD]),
	"pmd_swp_uffd_wp":          pred(swapentry.SwpUffdWP[x86.PMD]),

	"is_swap_pte":                 pred(swapentry.SwapPTE),
	"is_swap_pmd":                 pred(swapentry.SwapPMD),
	"is_pte_marker":               predIn((*layout).PTEMarker),
	"pte_marker_uffd_wp":          predIn((*layout).PTEUffdWPMarker),
	"pte_is_uffd_marker":          predIn((*layout).PTEUffdMarker),
	"pte_none_mostly":             predIn((*layout).PTENoneMostly),
	"is_pmd_migration_entry":      predIn((*layout).PMDMigration),
	"pmd_is_device_private_entry": predIn((*layout).PMDDevicePrivate),
	"pmd_is_valid_softleaf":       predIn((*layout).PMDValidSoftleaf),
	"pmd_is_huge":                 predIn((*layout).PMDHuge),
}

func fixed(f func(*layout) swp) function {
	return function{0, func(c *Config, _ []uint64) uint64 { return uint64(f(c.Layout)) }}
}
