package vectors

import (
	"math/bits"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

type constant = func(c *Config) uint64

// constants maps the kernel's constants to our values.
var constants = mergeConstants(map[string]constant{
	"PAGE_SHIFT":             is(x86.PageShift),
	"PAGE_SIZE":              is(x86.PageSize),
	"PAGE_MASK":              is(x86.PageMask),
	"HPAGE_PMD_SHIFT":        levelShift(x86.LevelPMD),
	"HPAGE_PMD_SIZE":         levelSize(x86.LevelPMD),
	"HPAGE_PMD_ORDER":        is(uint64(x86.LevelPMD.Shift() - x86.PageShift)),
	"HPAGE_PMD_NR":           is(x86.LevelPMD.Size() / x86.PageSize),
	"PMD_SHIFT":              levelShift(x86.LevelPMD),
	"PMD_SIZE":               levelSize(x86.LevelPMD),
	"PMD_MASK":               levelMask(x86.LevelPMD),
	"PUD_SHIFT":              levelShift(x86.LevelPUD),
	"PUD_SIZE":               levelSize(x86.LevelPUD),
	"PUD_MASK":               levelMask(x86.LevelPUD),
	"P4D_SHIFT":              levelShift(x86.LevelP4D),
	"P4D_SIZE":               levelSize(x86.LevelP4D),
	"P4D_MASK":               levelMask(x86.LevelP4D),
	"PGDIR_SHIFT":            levelShift(x86.LevelPGD),
	"PGDIR_SIZE":             levelSize(x86.LevelPGD),
	"PGDIR_MASK":             levelMask(x86.LevelPGD),
	"CONFIG_PGTABLE_LEVELS":  is(uint64(x86.LevelPGD)),
	"PTRS_PER_PTE":           slots(x86.LevelPTE),
	"PTRS_PER_PMD":           slots(x86.LevelPMD),
	"PTRS_PER_PUD":           slots(x86.LevelPUD),
	"PTRS_PER_P4D":           slots(x86.LevelP4D),
	"PTRS_PER_PGD":           slots(x86.LevelPGD),
	"__VIRTUAL_MASK_SHIFT":   func(c *Config) uint64 { return uint64(c.ABI.Paging().VirtBits() - 1) },
	"__VIRTUAL_MASK":         func(c *Config) uint64 { return 1<<(c.ABI.Paging().VirtBits()-1) - 1 },
	"__PHYSICAL_MASK":        func(c *Config) uint64 { return c.ABI.PhysicalMask() },
	"__PHYSICAL_MASK_SHIFT":  func(c *Config) uint64 { return uint64(bits.Len64(c.ABI.PhysicalMask())) },
	"PTE_PFN_MASK":           frameMask(x86.LevelPTE),
	"PHYSICAL_PAGE_MASK":     frameMask(x86.LevelPTE),
	"PHYSICAL_PMD_PAGE_MASK": frameMask(x86.LevelPMD),
	"PHYSICAL_PUD_PAGE_MASK": frameMask(x86.LevelPUD),
	"PTE_FLAGS_MASK":         func(c *Config) uint64 { return ^c.ABI.FrameMask(x86.LevelPTE) },
	"sme_me_mask":            encMask,
	"_PAGE_ENC":              encMask,
	"_PAGE_CC":               encMask,
	"__supported_pte_mask":   func(c *Config) uint64 { return c.ABI.SupportedMask() },

	"VM_READ":       is(uint64(x86.VMRead)),
	"VM_WRITE":      is(uint64(x86.VMWrite)),
	"VM_EXEC":       is(uint64(x86.VMExec)),
	"VM_SHARED":     is(uint64(x86.VMShared)),
	"VM_PKEY_SHIFT": is(x86.VMPkeyShift),
	"VM_PKEY_BIT0":  is(uint64(x86.PagePkey(1))),
	"VM_PKEY_BIT3":  is(uint64(x86.PagePkey(8))),

	"VM_SHADOW_STACK": is(uint64(x86.VMShadowStack)),
}, bitConstants, protConstants, swapConstants, spaceConstants)

// unmapped lists the constants that have no counterpart on our side, and why.
var unmapped = map[string]string{
	"SECTION_SIZE_BITS": "the unit of memory hotplug; no entry, level or address depends on it",
}

func mergeConstants(tables ...map[string]constant) map[string]constant {
	all := map[string]constant{}
	for _, t := range tables {
		for name, f := range t {
			all[name] = f
		}
	}
	return all
}

func is(v uint64) constant { return func(*Config) uint64 { return v } }

func encMask(c *Config) uint64 { return c.ABI.Paging().EncMask }

func levelShift(l x86.Level) constant {
	return func(c *Config) uint64 { return uint64(c.ABI.Paging().Shift(l)) }
}

func levelSize(l x86.Level) constant {
	return func(c *Config) uint64 { return 1 << c.ABI.Paging().Shift(l) }
}

func levelMask(l x86.Level) constant {
	return func(c *Config) uint64 { return ^(1<<c.ABI.Paging().Shift(l) - 1) }
}

// slots is the number of entries that an address can select.
func slots(l x86.Level) constant {
	return func(c *Config) uint64 { return uint64(c.ABI.Paging().Index(^x86.Virt(0), l)) + 1 }
}

func frameMask(l x86.Level) constant {
	return func(c *Config) uint64 { return c.ABI.FrameMask(l) }
}

// bitConstants are the flag bits. A name that a kernel does not have is not in its file.
var bitConstants = mergeConstants(
	flagBit("PRESENT", x86.PageBitPresent), flagBit("RW", x86.PageBitRW), flagBit("USER", x86.PageBitUser),
	flagBit("PWT", x86.PageBitPWT), flagBit("PCD", x86.PageBitPCD), flagBit("ACCESSED", x86.PageBitAccessed),
	flagBit("DIRTY", x86.PageBitDirty), flagBit("PAT", x86.PageBitPAT), flagBit("PSE", x86.PageBitPSE),
	flagBit("GLOBAL", x86.PageBitGlobal), flagBit("PROTNONE", x86.PageBitProtnone),
	flagBit("SPECIAL", x86.PageBitSpecial), flagBit("SOFTW1", x86.PageBitSpecial),
	flagBit("CPA_TEST", x86.PageBitCPATest),
	flagBit("UFFD_WP", x86.PageBitUffdWP), flagBit("SOFTW2", x86.PageBitUffdWP),
	flagBit("SOFT_DIRTY", x86.PageBitSoftDirty), flagBit("SOFTW3", x86.PageBitSoftDirty),
	flagBit("KERNEL_4K", x86.PageBitKernel4K), flagBit("PAT_LARGE", x86.PageBitPATLarge),
	flagBit("SOFTW5", x86.PageBitSoftW5), flagBit("NOPTISHADOW", x86.PageBitSoftW5),
	flagBit("PKEY_BIT0", x86.PageBitPkey0), flagBit("PKEY_BIT1", x86.PageBitPkey0+1),
	flagBit("PKEY_BIT2", x86.PageBitPkey0+2), flagBit("PKEY_BIT3", x86.PageBitPkey0+3),
	flagBit("NX", x86.PageBitNX),
	movingBit("DEVMAP", (*x86.ABI).DevmapMask), movingBit("SAVED_DIRTY", (*x86.ABI).SavedDirtyMask),
	movingBit("SOFTW4", softW4),
	map[string]constant{
		"_PAGE_PKEY_MASK":        is(x86.PagePkeyMask),
		"_PAGE_KNL_ERRATUM_MASK": is(x86.PageKnlErratumMask),
		"_PAGE_CACHE_MASK":       is(x86.PageCacheMask),
		"_PAGE_LARGE_CACHE_MASK": is(x86.PageLargeCacheMask),
		"_PAGE_NOCACHE":          is(uint64(x86.CacheUC.Protval())),
		"_PAGE_CACHE_WP":         is(uint64(x86.CacheWP.Protval())),
		"_PAGE_SWP_SOFT_DIRTY":   is(x86.PageSwpSoftDirty),
		"_PAGE_SWP_UFFD_WP":      is(x86.PageSwpUffdWP),
		"_PAGE_SWP_EXCLUSIVE":    is(x86.PageSwpExclusive),
		"_PAGE_DIRTY_BITS":       func(c *Config) uint64 { return x86.PageDirty | c.ABI.SavedDirtyMask() },
		"_PAGE_CHG_MASK":         changeMask,
		"_COMMON_PAGE_CHG_MASK":  func(c *Config) uint64 { return changeMask(c) &^ x86.PagePAT },
		"_HPAGE_CHG_MASK": func(c *Config) uint64 {
			return changeMask(c)&^x86.PagePAT | x86.PagePSE | x86.PagePATLarge
		},
		"_PAGE_TABLE":         func(c *Config) uint64 { return x86.PageTable | encMask(c) },
		"_PAGE_TABLE_NOENC":   is(x86.PageTable),
		"_KERNPG_TABLE":       func(c *Config) uint64 { return x86.PageKernPgTable | encMask(c) },
		"_KERNPG_TABLE_NOENC": is(x86.PageKernPgTable),
	})

func flagBit(name string, bit uint) map[string]constant {
	return map[string]constant{"_PAGE_BIT_" + name: is(uint64(bit)), "_PAGE_" + name: is(1 << bit)}
}

func movingBit(name string, mask func(*x86.ABI) uint64) map[string]constant {
	return map[string]constant{
		"_PAGE_BIT_" + name: func(c *Config) uint64 { return uint64(bits.TrailingZeros64(mask(c.ABI))) },
		"_PAGE_" + name:     func(c *Config) uint64 { return mask(c.ABI) },
	}
}

// softW4 is bit 58 until saved-dirty took that place, and 57 since.
func softW4(a *x86.ABI) uint64 {
	if a.SavedDirtyMask() == 0 {
		return x86.PageSoftW5
	}
	return x86.PageSoftW4
}

// changeMask is what a protection change keeps of all ones.
func changeMask(c *Config) uint64 { return uint64(x86.Prot(^uint64(0)).Modify(c.ABI, 0)) }

var protConstants = map[string]constant{
	"PAGE_NONE":          is(uint64(x86.ProtNone)),
	"PAGE_READONLY":      is(uint64(x86.ProtReadonly)),
	"PAGE_READONLY_EXEC": is(uint64(x86.ProtReadonlyExec)),
	"PAGE_COPY":          is(uint64(x86.ProtReadonly)),
	"PAGE_COPY_NOEXEC":   is(uint64(x86.ProtReadonly)),
	"PAGE_COPY_EXEC":     is(uint64(x86.ProtReadonlyExec)),
	"PAGE_SHARED":        is(uint64(x86.ProtShared)),
	"PAGE_SHARED_EXEC":   is(uint64(x86.ProtSharedExec)),

	"__PAGE_KERNEL":            is(uint64(x86.ProtKernel)),
	"__PAGE_KERNEL_EXEC":       is(uint64(x86.ProtKernelExec)),
	"__PAGE_KERNEL_NOCACHE":    is(uint64(x86.ProtKernelNoCache)),
	"__PAGE_KERNEL_LARGE":      is(uint64(x86.ProtKernelLarge)),
	"__PAGE_KERNEL_LARGE_EXEC": is(uint64(x86.ProtKernelLargeExec)),
	"__PAGE_KERNEL_WP":         is(uint64(x86.ProtKernelWP)),
	"__PAGE_KERNEL_RO":         func(c *Config) uint64 { return uint64(x86.ProtKernelRO(c.ABI)) },
	"__PAGE_KERNEL_ROX":        func(c *Config) uint64 { return uint64(x86.ProtKernelROX(c.ABI)) },
	"__PAGE_KERNEL_VVAR":       func(c *Config) uint64 { return uint64(x86.ProtKernelVVAR(c.ABI)) },

	"__default_kernel_pte_mask": defaultKernelMask,
	"PAGE_KERNEL":               inUse(x86.ProtKernel),
	"PAGE_KERNEL_NOENC":         inUse(x86.ProtKernel),
	"PAGE_KERNEL_IO":            inUse(x86.ProtKernel),
	"PAGE_KERNEL_EXEC":          inUse(x86.ProtKernelExec),
	"PAGE_KERNEL_EXEC_NOENC":    inUse(x86.ProtKernelExec),
	"PAGE_KERNEL_NOCACHE":       inUse(x86.ProtKernelNoCache),
	"PAGE_KERNEL_IO_NOCACHE":    inUse(x86.ProtKernelNoCache),
	"PAGE_KERNEL_LARGE":         inUse(x86.ProtKernelLarge),
	"PAGE_KERNEL_LARGE_EXEC":    inUse(x86.ProtKernelLargeExec),
	"PAGE_KERNEL_RO":            func(c *Config) uint64 { return inUse(x86.ProtKernelRO(c.ABI))(c) },
	"PAGE_KERNEL_ROX":           func(c *Config) uint64 { return inUse(x86.ProtKernelROX(c.ABI))(c) },
	"PAGE_KERNEL_VVAR":          func(c *Config) uint64 { return inUse(x86.ProtKernelVVAR(c.ABI))(c) },
}

// defaultKernelMask is what page-table isolation leaves of a kernel protection: no GLOBAL.
func defaultKernelMask(c *Config) uint64 {
	mask := c.ABI.SupportedMask()
	if c.PTI {
		mask &^= x86.PageGlobal
	}
	return mask
}

func inUse(p x86.Prot) constant {
	return func(c *Config) uint64 { return uint64(p) & defaultKernelMask(c) }
}

// swapConstants that swapentry keeps to itself are read off what its functions do.
var swapConstants = map[string]constant{
	"BITS_PER_XA_VALUE":    is(uint64(bits.Len64(uint64(swapentry.MkSwp(31, ^uint64(0)))))),
	"SWP_TYPE_SHIFT":       is(uint64(bits.TrailingZeros64(uint64(swapentry.MkSwp(1, 0))))),
	"SWP_OFFSET_MASK":      is(uint64(swapentry.MkSwp(0, ^uint64(0)))),
	"SWP_TYPE_BITS":        is(uint64(bits.OnesCount64(rawChange(swapentry.MkSwp(31, 0))))),
	"MAX_SWAPFILES_SHIFT":  is(uint64(bits.OnesCount64(rawChange(swapentry.MkSwp(31, 0))))),
	"SWP_OFFSET_FIRST_BIT": is(uint64(bits.TrailingZeros64(rawChange(swapentry.MkSwp(0, 1))))),
	"SWP_OFFSET_SHIFT":     is(uint64(64 - bits.OnesCount64(rawChange(swapentry.MkSwp(0, ^uint64(0)))))),
	"swap_max_offset": func(c *Config) uint64 {
		return c.Layout.FromPTE(swapentry.MkSwp(0, ^uint64(0)).PTE() | x86.PageSwpExclusive).Offset()
	},
	"generic_max_swapfile_size": func(c *Config) uint64 {
		return swapentry.NewLayout(x86.MustABI(c.ABI.Kernel(), x86.DefaultPaging(4))).MaxSwapfileSize()
	},
	"arch_max_swapfile_size":      func(c *Config) uint64 { return c.Layout.MaxSwapfileSize() },
	"swapfile_maximum_size":       func(c *Config) uint64 { return c.Layout.MaxSwapfileSize() },
	"migration_entry_supports_ad": func(c *Config) uint64 { return bit(c.Layout.MigrationAD()) },

	"MAX_PHYSMEM_BITS":   func(c *Config) uint64 { return uint64(c.Layout.PFNBits() + x86.PageShift) },
	"SWP_PFN_BITS":       func(c *Config) uint64 { return uint64(c.Layout.PFNBits()) },
	"SWP_PFN_MASK":       func(c *Config) uint64 { return uint64(swapentry.Swp(^uint64(0)).PFN(c.Layout)) },
	"SWP_MIG_YOUNG":      func(c *Config) uint64 { return c.Layout.MigrationYoungMask() },
	"SWP_MIG_DIRTY":      func(c *Config) uint64 { return c.Layout.MigrationDirtyMask() },
	"SWP_MIG_YOUNG_BIT":  func(c *Config) uint64 { return bitNumber(c.Layout.MigrationYoungMask()) },
	"SWP_MIG_DIRTY_BIT":  func(c *Config) uint64 { return bitNumber(c.Layout.MigrationDirtyMask()) },
	"SWP_MIG_TOTAL_BITS": func(c *Config) uint64 { return bitNumber(c.Layout.MigrationDirtyMask()) + 1 },

	"PTE_MARKER_UFFD_WP":  is(uint64(swapentry.MarkerUffdWP)),
	"PTE_MARKER_POISONED": is(uint64(swapentry.MarkerPoisoned)),
	"PTE_MARKER_GUARD":    is(uint64(swapentry.MarkerGuard)),
	"PTE_MARKER_MASK":     func(c *Config) uint64 { return uint64(c.Layout.MarkerMask()) },

	"MAX_SWAPFILES":                swapType(func(t *swapentry.Types) uint8 { return t.MaxSwapfiles }),
	"SWP_HWPOISON":                 swapType(func(t *swapentry.Types) uint8 { return t.HWPoison }),
	"SWP_MIGRATION_READ":           swapType(func(t *swapentry.Types) uint8 { return t.MigrationRead }),
	"SWP_MIGRATION_READ_EXCLUSIVE": swapType(func(t *swapentry.Types) uint8 { return t.MigrationReadExclusive }),
	"SWP_MIGRATION_WRITE":          swapType(func(t *swapentry.Types) uint8 { return t.MigrationWrite }),
	"SWP_DEVICE_WRITE":             swapType(func(t *swapentry.Types) uint8 { return t.DevicePrivateWrite }),
	"SWP_DEVICE_READ":              swapType(func(t *swapentry.Types) uint8 { return t.DevicePrivateRead }),
	"SWP_DEVICE_EXCLUSIVE_WRITE":   swapType(func(t *swapentry.Types) uint8 { return t.DeviceExclusiveWrite }),
	"SWP_DEVICE_EXCLUSIVE_READ":    swapType(func(t *swapentry.Types) uint8 { return t.DeviceExclusiveRead }),
	"SWP_DEVICE_EXCLUSIVE":         swapType(func(t *swapentry.Types) uint8 { return t.DeviceExclusiveWrite }),
	"SWP_PTE_MARKER":               swapType(func(t *swapentry.Types) uint8 { return t.Marker }),
	"SWP_SWAPIN_ERROR":             swapType(func(t *swapentry.Types) uint8 { return t.SwapinError }),

	// The numbers of types of a kind are the distances to the next kind.
	"SWP_HWPOISON_NUM":  swapType(func(t *swapentry.Types) uint8 { return t.MigrationRead - t.HWPoison }),
	"SWP_MIGRATION_NUM": swapType(func(t *swapentry.Types) uint8 { return t.MigrationWrite + 1 - t.MigrationRead }),
	"SWP_DEVICE_NUM":    swapType(func(t *swapentry.Types) uint8 { return t.Marker - t.MigrationWrite - 1 }),
	"SWP_PTE_MARKER_NUM": swapType(func(t *swapentry.Types) uint8 {
		return min(t.SwapinError, 32) - t.Marker
	}),
	"SWP_SWAPIN_ERROR_NUM": swapType(func(t *swapentry.Types) uint8 { return 32 - t.SwapinError }),

	"SOFTLEAF_NONE":                     is(uint64(swapentry.LeafNone)),
	"SOFTLEAF_SWAP":                     is(uint64(swapentry.LeafSwap)),
	"SOFTLEAF_MIGRATION_READ":           is(uint64(swapentry.LeafMigrationRead)),
	"SOFTLEAF_MIGRATION_READ_EXCLUSIVE": is(uint64(swapentry.LeafMigrationReadExclusive)),
	"SOFTLEAF_MIGRATION_WRITE":          is(uint64(swapentry.LeafMigrationWrite)),
	"SOFTLEAF_DEVICE_PRIVATE_READ":      is(uint64(swapentry.LeafDevicePrivateRead)),
	"SOFTLEAF_DEVICE_PRIVATE_WRITE":     is(uint64(swapentry.LeafDevicePrivateWrite)),
	"SOFTLEAF_DEVICE_EXCLUSIVE":         is(uint64(swapentry.LeafDeviceExclusive)),
	"SOFTLEAF_HWPOISON":                 is(uint64(swapentry.LeafHWPoison)),
	"SOFTLEAF_MARKER":                   is(uint64(swapentry.LeafMarker)),
}

// rawChange returns the bits in which the page-table form of s differs from that of type 0, offset 0.
func rawChange(s swapentry.Swp) uint64 { return uint64(s.PTE() ^ swapentry.MkSwp(0, 0).PTE()) }

func bitNumber(mask uint64) uint64 { return uint64(bits.TrailingZeros64(mask)) }

func swapType(f func(*swapentry.Types) uint8) constant {
	return func(c *Config) uint64 {
		t := c.Layout.Types()
		return uint64(f(&t))
	}
}
