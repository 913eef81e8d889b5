package x86

import "fmt"

// Kernel is a set of named features: everything in which the page tables of Linux releases differ, as far as
// this module models it. Code asks for a feature, never for a release; Release is only a label.
//
// The zero value is no kernel. Start from [Linux6_1], [Linux6_12] or [Linux7_2] and change fields as needed;
// a Kernel handed to [NewABI] is copied.
type Kernel struct {
	// Release labels the feature set: "6.1", "6.12", "7.2".
	Release string

	// DevmapBit is the bit of _PAGE_DEVMAP, 0 where the flag no longer exists (gone in 7.2).
	DevmapBit uint8
	// SavedDirty says that bit 58 holds the dirty state of a read-only leaf, and that RW=0, D=1 is left to
	// shadow stacks (since 6.6).
	SavedDirty bool
	// NoPTIShadow says that bit 58 of a root entry keeps it out of the user root (since 6.12).
	NoPTIShadow bool
	// HugeSpecial says that SPECIAL has a meaning in PMD and PUD leaves (since 6.12).
	HugeSpecial bool
	// Kernel4K says that bit 11 of a kernel leaf forbids rebuilding a large page from it (7.2).
	Kernel4K bool
	// UffdWPProtects says that pte_mkuffd_wp() also removes write permission (since 6.3).
	UffdWPProtects bool
	// PMDModifyDropsDirty says that pmd_modify() loses a hardware dirty bit (6.12 only).
	PMDModifyDropsDirty bool
	// PUDLeafNeedsPresent says that pud_leaf() also wants P (6.1's pud_large).
	PUDLeafNeedsPresent bool
	// WriteCombineReplaces says that pgprot_writecombine() clears the old cache mode first (7.2).
	WriteCombineReplaces bool
	// KernelRODirty says that read-only kernel protections carry D (6.1).
	KernelRODirty bool

	// ProtectStops says that change_protection() stops with ENOMEM where it cannot make a table for markers, rather
	// than go on without it (6.12 on).
	ProtectStops bool
	// ProtectRetries says that change_protection() looks at a PMD again if its table was gone when it came to lock
	// it, rather than pass it over (6.12 on).
	ProtectRetries bool
	// ProtectBatches says that change_protection() treats runs of PTEs that map one large folio as one (7.2).
	ProtectBatches bool
	// HugeUpgrade says that change_huge_pmd() may make a leaf writable again (6.12 on).
	HugeUpgrade bool
	// ProtectPUDs says that change_protection() knows 1 GiB leaves (6.12 on); before, it took them for broken pointers
	// to tables and emptied them.
	ProtectPUDs bool
	// RestoreTrustsWrite says that what is put back (after migration, or by a split) as writable becomes so, whatever
	// the area permits meanwhile (6.12 on); before, VM_WRITE decided, and what was not writable was write-protected.
	RestoreTrustsWrite bool
	// SplitKeepsDirty says that splitting a huge page hands D to its 512 PTEs (6.12 on).
	SplitKeepsDirty bool
	// CollapseNeedsWrite says that khugepaged leaves a table alone in which nothing is writable (not in 7.2).
	CollapseNeedsWrite bool
	// CollapseSeesMarkers says that khugepaged looks for uffd-wp in markers too, not only in flags (6.12 on).
	CollapseSeesMarkers bool
	// HugeZeroSpecial says that the huge zero page is mapped with SPECIAL (7.2).
	HugeZeroSpecial bool

	// DevicePrivate is CONFIG_DEVICE_PRIVATE: it reserves swap types and moves the others.
	DevicePrivate bool
	// MigrationExclusive says that read-only pages that nobody else maps migrate under a swap type of their own (since
	// 5.19).
	MigrationExclusive bool
	// MigrationAD says that migration entries keep A and D of the page, where there is room (since 6.1).
	MigrationAD bool
	// DeviceExclusiveTypes is the number of device-exclusive swap types: none (before 5.14), read and write, or one (7.2).
	DeviceExclusiveTypes uint8
	// SwapinErrorType says that a failed swap-in has a swap type of its own (6.1), not a marker bit.
	SwapinErrorType bool
	// MarkerMask holds the marker bits that exist: 1 uffd-wp, 2 poisoned, 4 guard. Without any (before 5.19) there is no
	// swap type for markers.
	MarkerMask uint64
	// Softleaf says that a zero entry decodes as "none" rather than as swap type 0, offset 0, and that
	// non-present PMDs may be device-private (7.2).
	Softleaf bool
	// PagemapSwapExclusive says that /proc/pid/pagemap shows the exclusive bit of non-present pages too (6.1).
	PagemapSwapExclusive bool
	// PagemapUffdWP says that /proc/pid/pagemap shows write protection through userfaultfd (since 5.14).
	PagemapUffdWP bool
}

// Linux6_1 returns the features of 6.1, without CONFIG_DEVICE_PRIVATE.
func Linux6_1() Kernel {
	return Kernel{
		Release: "6.1", DevmapBit: 58, PUDLeafNeedsPresent: true, KernelRODirty: true,
		MigrationExclusive: true, MigrationAD: true, PagemapUffdWP: true,
		DeviceExclusiveTypes: 2, SwapinErrorType: true, MarkerMask: 1, PagemapSwapExclusive: true,
		CollapseNeedsWrite: true,
	}
}

// Linux6_12 returns the features of 6.12, without CONFIG_DEVICE_PRIVATE.
func Linux6_12() Kernel {
	return Kernel{
		Release: "6.12", DevmapBit: 57, SavedDirty: true, NoPTIShadow: true, HugeSpecial: true,
		UffdWPProtects: true, PMDModifyDropsDirty: true,
		ProtectStops: true, ProtectRetries: true, HugeUpgrade: true, ProtectPUDs: true, RestoreTrustsWrite: true,
		SplitKeepsDirty: true, CollapseNeedsWrite: true, CollapseSeesMarkers: true,
		MigrationExclusive: true, MigrationAD: true, PagemapUffdWP: true,
		DeviceExclusiveTypes: 2, MarkerMask: 3,
	}
}

// Linux7_2 returns the features of 7.2, without CONFIG_DEVICE_PRIVATE.
func Linux7_2() Kernel {
	return Kernel{
		Release: "7.2", SavedDirty: true, NoPTIShadow: true, HugeSpecial: true, Kernel4K: true,
		UffdWPProtects: true, WriteCombineReplaces: true,
		ProtectStops: true, ProtectRetries: true, ProtectBatches: true, HugeUpgrade: true, ProtectPUDs: true,
		RestoreTrustsWrite: true, SplitKeepsDirty: true, HugeZeroSpecial: true, CollapseSeesMarkers: true,
		MigrationExclusive: true, MigrationAD: true, PagemapUffdWP: true,
		DeviceExclusiveTypes: 1, MarkerMask: 7, Softleaf: true,
	}
}

// Kernels returns the feature sets that this module knows, oldest first.
func Kernels() []Kernel { return []Kernel{Linux6_1(), Linux6_12(), Linux7_2()} }

// KernelNamed returns the feature set whose Release is name.
func KernelNamed(name string) (Kernel, error) {
	for _, k := range Kernels() {
		if k.Release == name {
			return k, nil
		}
	}
	return Kernel{}, fmt.Errorf("x86: unknown kernel %q: want 6.1, 6.12 or 7.2", name)
}

// ABI is how one kernel on one machine lays out its entries: a [Kernel], a [Paging], and the masks that follow
// from them. It is immutable; share it freely.
type ABI struct {
	kernel Kernel
	paging Paging

	physMask    uint64 // __PHYSICAL_MASK
	pteFrame    uint64 // PTE_PFN_MASK
	pmdFrame    uint64 // PHYSICAL_PMD_PAGE_MASK
	pudFrame    uint64 // PHYSICAL_PUD_PAGE_MASK
	supported   uint64 // __supported_pte_mask
	devmap      uint64
	savedDirty  uint64
	pteChange   uint64 // _PAGE_CHG_MASK
	hpageChange uint64 // _HPAGE_CHG_MASK
	pmdKeep     uint64 // what pmd_modify keeps: hpageChange, less D in 6.12
	shadowStack bool

	flags [LevelPGD + 1][formCount][]Flag
}

// NewABI combines a kernel with a machine. It fails where [Paging.Validate] does.
func NewABI(k Kernel, p Paging) (*ABI, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	a := &ABI{kernel: k, paging: p}
	a.physMask = (1<<52 - 1) &^ p.EncMask
	a.pteFrame = a.physMask & PageMask
	a.pmdFrame = a.physMask &^ (LevelPMD.Size() - 1)
	a.pudFrame = a.physMask &^ (LevelPUD.Size() - 1)
	a.supported = ^uint64(0)
	if !p.NX {
		a.supported &^= PageNX
	}
	if k.DevmapBit != 0 {
		a.devmap = 1 << k.DevmapBit
	}
	if k.SavedDirty {
		a.savedDirty = PageSoftW5
	}
	common := a.pteFrame | PagePCD | PagePWT | PageSpecial | PageAccessed | PageDirty | a.savedDirty |
		PageSoftDirty | a.devmap | p.EncMask | PageUffdWP
	a.pteChange = common | PagePAT
	a.hpageChange = common | PagePSE | PagePATLarge
	a.pmdKeep = a.hpageChange
	if k.PMDModifyDropsDirty {
		a.pmdKeep &^= PageDirty
	}
	a.shadowStack = p.ShadowStack && k.SavedDirty
	a.makeFlags()
	return a, nil
}

// MustABI is [NewABI] for values known to be good; it panics where NewABI fails.
func MustABI(k Kernel, p Paging) *ABI {
	a, err := NewABI(k, p)
	if err != nil {
		panic(err)
	}
	return a
}

// Kernel returns the features that the ABI was made from.
func (a *ABI) Kernel() Kernel { return a.kernel }

// Paging returns the machine that the ABI was made from.
func (a *ABI) Paging() Paging { return a.paging }

// DevmapMask returns _PAGE_DEVMAP: bit 58 in 6.1, bit 57 in 6.12, 0 where there is none.
func (a *ABI) DevmapMask() uint64 { return a.devmap }

// SavedDirtyMask returns _PAGE_SAVED_DIRTY: bit 58 since 6.6, 0 before.
func (a *ABI) SavedDirtyMask() uint64 { return a.savedDirty }

// PhysicalMask returns __PHYSICAL_MASK: 52 address bits less the encryption bit.
func (a *ABI) PhysicalMask() uint64 { return a.physMask }

// FrameMask returns the frame bits of a leaf of level l (PTE, PMD or PUD), or of a table entry above.
//
// Linux: PTE_PFN_MASK, PHYSICAL_PMD_PAGE_MASK, PHYSICAL_PUD_PAGE_MASK
func (a *ABI) FrameMask(l Level) uint64 {
	switch l {
	case LevelPMD:
		return a.pmdFrame
	case LevelPUD:
		return a.pudFrame
	}
	return a.pteFrame
}

// SupportedMask returns __supported_pte_mask: all ones less what the processor lacks.
func (a *ABI) SupportedMask() uint64 { return a.supported }

// TableFrame returns the frame of the table that a present table entry of any level points to.
func (a *ABI) TableFrame(entry uint64) PFN { return PFN(entry & a.pteFrame >> PageShift) }
