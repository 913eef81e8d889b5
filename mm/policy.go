package mm

import (
	"fmt"
	"slices"

	"ptemu/arch/x86"
)

// Policy is what releases do differently in the operations, beside what x86.Kernel says of the entries: named
// behaviours. Code asks for a behaviour, never for a release.
type Policy struct {
	// Who may write.

	// Reuse decides about a write fault on an anonymous page.
	Reuse Reuse
	// ReuseLarge decides about one whose page belongs to a large folio and is not exclusive.
	ReuseLarge ReuseLarge
	// UffdWritenotify: a shared area registered for write protection has a vm_page_prot without RW
	// (51d3d5eb74ff, 6.2 and 6.1.y).
	UffdWritenotify bool
	// RestoreReadOnly: the end of a migration write-protects what was not writable and not uffd-wp (6.1.y only).
	RestoreReadOnly bool
	// RestoreSoftDirty: the end of a migration sets SOFT_DIRTY exactly as it was (6.12 on); else it may only gain it.
	RestoreSoftDirty bool
	// Resolve is what the end of a userfaultfd write protection does with pages that are shared.
	Resolve Resolve
	// ResolveUpgrades: it uses vm_page_prot, and gives write permission back where no fault is needed to decide (6.12
	// on); else the protection comes from the area's flags.
	ResolveUpgrades bool
	// WPFaultFlushes: a write fault of an area under userfaultfd write protection flushes the page first if a flush is
	// pending (6ce64428d620, 5.12).
	WPFaultFlushes bool
	// ClearRefsShares: clear_refs holds the mmap lock for reading only (until 5.10).
	ClearRefsShares bool
	// ClearRefsPinned: clear_refs write-protects pinned pages too (until 5.10).
	ClearRefsPinned bool
	// ClearRefsNoFlush: clear_refs does not flush at all where only soft-dirty bits were reset (the missing flush of
	// 5.10).
	ClearRefsNoFlush bool
	// SwapInFlagsFirst: swap-in restores SOFT_DIRTY and UFFD_WP before it decides about RW, and lets reads of an
	// exclusive page have it too (6.12 on).
	SwapInFlagsFirst bool
	// SwapInBypasses: slots of one user are read from fast devices without the swap cache (not in 7.2).
	SwapInBypasses bool
	// SwapInFreesLast: swap-in asks whether the swap cache should give a page up when it is mapped already, so that its
	// reference counts when the fault decides who owns the page; of fast devices it always should (7.2).
	SwapInFreesLast bool
	// NUMAKeepsWrite: a NUMA hint keeps RW in the PROT_NONE entry, and the fault gives it back (6.1).
	NUMAKeepsWrite bool
	// UnshareCopiesFile: unsharing copies pages that are not anonymous (6.12 on).
	UnshareCopiesFile bool
	// SharedByMayShare: VM_MAYSHARE makes a mapping shared for write faults, too (6.12 on).
	SharedByMayShare bool

	// userfaultfd.

	UffdWPAsync       bool // UFFD_FEATURE_WP_ASYNC, and PAGEMAP_SCAN (6.7)
	UffdWPUnpopulated bool // UFFD_FEATURE_WP_UNPOPULATED: markers in anonymous areas (6.4)
	UffdPoison        bool // UFFDIO_POISON (6.6)
	UffdMove          bool // UFFDIO_MOVE (6.8)
	UffdSeesBeyond    bool // UFFDIO_REGISTER and UFFDIO_UNREGISTER of a range without an area fail with ENOMEM, not EINVAL, if no area is above it either (6.1)
	UffdCutStays      bool // UFFDIO_REGISTER and UFFDIO_UNREGISTER do not join what they cut off the end of an area to the next one (6.1)
	UffdWPOneArea     bool // UFFDIO_WRITEPROTECT wants its range in one area (6.1)
	UffdPreparesFirst bool // filling calls give the area an anon_vma before they look whether they may (6.12 on)
	UffdCopyEndNoMem  bool // UFFDIO_COPY behind the end of a file is ENOMEM (7.2); else EFAULT
	UffdCopyStrict    bool // UFFDIO_COPY replaces uffd-wp and poison markers only, not guards (7.2)

	// Large folios and huge pages.

	MTHP               bool // anonymous faults may take large folios (6.8)
	HugeZeroWPAllocs   bool // a write to the huge zero page allocates a huge page (7.2)
	FaultMapsFileFolio bool // a file fault maps the whole folio (7.2); 6.12 only that of shared memory
	FaultMapsShmFolio  bool // 6.12 on
	NoHugeFiles        bool // MADV_NOHUGEPAGE also keeps file faults from mapping huge pages (6.12 on)
	ReadFaultDirty     bool // a read fault of a dirty page that may be written maps it dirty (7.2)
	NUMAWholeFolio     bool // a NUMA hint fault rebuilds all of a large folio's entries (6.12 on)

	// Others.

	GuardMarkers   bool // MADV_GUARD_INSTALL and _REMOVE (7.2)
	PopulateStops  bool // tables for markers that cannot be made are an error (6.12 on)
	NUMASkipPinned bool // NUMA hints leave pinned pages alone (7.2)
	NUMASharing    NUMASharing
	CopyOnForkAnon bool // fork copies areas with a guard or an anon_vma only (7.2)
	ZapKeepsMarker bool // zap keeps uffd-wp markers of anonymous areas (6.1)
	ZapFreesTables bool // MADV_DONTNEED gives PTE tables back that it leaves empty (6.14 on; CONFIG_PT_RECLAIM)
	StickyFlags    bool // merged areas keep SOFT_DIRTY of either (7.2)
	KSMZeroDirty   bool // a KSM zero page is mapped dirty (6.12 on)
	// MovesProtnone: move_pages moves pages that PROT_NONE makes inaccessible (6.12 on).
	MovesProtnone bool
	// MoveEmptyFaults: move_pages answers EFAULT where an anonymous area has no page (6.1), rather than ENOENT.
	MoveEmptyFaults bool
	// Sharing is how the kernel finds out, without a walk, that others map pages of a large folio.
	Sharing Sharing
	// SplitsPartlyMapped: large folios of which some pages are mapped nowhere are split when they are to be migrated or
	// reclaimed (6.12 on).
	SplitsPartlyMapped bool
	// DiscardsHuge: reclaim drops a lazily freed huge page with its table (6.11 on); else it is split first.
	DiscardsHuge bool
	// DiscardOrKeep: where it cannot be dropped, it stays as it is, rather than be split (7.2).
	DiscardOrKeep bool
	// CollapseNoneBusy: MADV_COLLAPSE fails with EBUSY where too many slots are empty (6.12 on); else with EINVAL.
	CollapseNoneBusy bool
	// CollapsePassesHoles: it goes on behind 2 MiB without a table (7.2).
	CollapsePassesHoles bool
	// CollapseWantsEdge: MADV_COLLAPSE of a range that does not even touch an edge between two huge pages fails (6.1, 6.12).
	CollapseWantsEdge bool
	// PopulateSkipsHoles: MADV_POPULATE goes on behind a hole (6.1), and fails at the end.
	PopulateSkipsHoles bool
	// DeviceKeepsMapping: a device-exclusive entry still counts as a mapping, and only writable pages get one (7.2).
	DeviceKeepsMapping bool
	LazyFreeClean      bool // khugepaged leaves clean lazily freed pages alone (7.2)
	// PagemapEachOfHuge: pagemap tells of each page of a huge entry whether others map it (6.12); else all are as the first.
	PagemapEachOfHuge bool

	// SplitDropsZeros: where a huge page is split, pages of it that are all zeros are replaced by the zero page (6.12 on).
	SplitDropsZeros bool

	// MergeWantsAnon: an area that has had anonymous pages is not merged into a neighbour that has not (until 6.15).
	MergeWantsAnon bool

	// DontUnmapResets: an anonymous area of which mremap has left nothing but the addresses begins anew, with the page
	// offset of one that was never touched (6.1, 7.2).
	DontUnmapResets bool

	// UnwrittenUnaccounted: an area that has had no pages gives up the memory set aside for it when it may not be written
	// any more (6.12 on), and is then none that its neighbours merge with.
	UnwrittenUnaccounted bool

	// RemapMany: MREMAP_FIXED moves all areas of its range (6.17 on), and looks at them before it unmaps anything.
	RemapMany bool

	// Reclaim and KSM.

	SwapLarge          bool // large folios go to swap as a whole (6.12 on); else they are split first if no PMD maps them
	LazyFreeRefsRevive bool // a reference is enough to make a lazily freed page swap-backed again (6.1, 6.12)
	UnmapsBatches      bool // reclaim unmaps pages of a large folio several at once (7.2)
	PageOutAsks        bool // MADV_PAGEOUT keeps what others have used, and makes it old (6.1)
	PageOutKeepsYoung  bool // MADV_PAGEOUT does not make entries old (6.9 on)
	UnmergeWrites      bool // unmerging KSM pages is a write to each (6.1); else they are unshared
}

// Reuse says when a write fault on an anonymous page takes the page rather than copy it.
type Reuse uint8

const (
	ReuseExclusive Reuse = iota // an exclusive page always, others if nobody else holds them (5.19 on)
	ReuseCount                  // if nobody else holds the page (5.9 to 5.18)
	ReuseMapcount               // if nobody else maps it (until 5.8)
)

// ReuseLarge is the part of it for large folios.
type ReuseLarge uint8

const (
	ReuseLargeCount    ReuseLarge = iota // as small ones, by the folio's references (6.1)
	ReuseLargeNever                      // 6.12
	ReuseLargeMapcount                   // if all references are mappings in one address space (7.2)
)

// Resolve is what resolving a userfaultfd write protection does with a page that may not become writable.
type Resolve uint8

const (
	ResolveClears  Resolve = iota // clears the bit only
	ResolveDraft                  // draft of March 2019: copies it in the middle of change_pte_range, and forgets the lock
	ResolveDraftV4                // the same, with the lock retaken
	ResolveNoCOW                  // makes it writable without looking
)

// Sharing says what the kernel knows of the sharing of large folios.
type Sharing uint8

const (
	SharingPage  Sharing = iota // how many entries map each page (6.1)
	SharingGuess                // how many map all of them; else a guess from those of the first page (6.12)
	SharingExact                // whether more than one address space does (7.2)
)

// NUMASharing is how a NUMA hint finds out that others map a page.
type NUMASharing uint8

const (
	NUMASharingCount    NUMASharing = iota // page_count() is not 1 (6.1)
	NUMASharingPinned                      // pinned, or likely mapped elsewhere (6.12)
	NUMASharingMapcount                    // maybe mapped elsewhere (7.2)
)

// Profile is a release: what its entries look like, and how it behaves.
type Profile struct {
	Kernel x86.Kernel
	Policy Policy
}

// Linux6_1 behaves as 6.1.192.
func Linux6_1() Profile {
	return Profile{x86.Linux6_1(), Policy{
		UffdWritenotify: true, SwapInBypasses: true, RestoreReadOnly: true, WPFaultFlushes: true, NUMAKeepsWrite: true, UffdWPOneArea: true, UffdSeesBeyond: true, UffdCutStays: true, PageOutAsks: true,
		DontUnmapResets: true, ZapKeepsMarker: true, MergeWantsAnon: true, MoveEmptyFaults: true, PopulateSkipsHoles: true, CollapseWantsEdge: true, LazyFreeRefsRevive: true, UnmergeWrites: true,
	}}
}

// Linux6_12 behaves as 6.12.107.
func Linux6_12() Profile {
	return Profile{x86.Linux6_12(), Policy{
		ReuseLarge: ReuseLargeNever, UffdWritenotify: true, RestoreSoftDirty: true, ResolveUpgrades: true, WPFaultFlushes: true,
		SwapInFlagsFirst: true, SwapInBypasses: true, UnshareCopiesFile: true, SharedByMayShare: true,
		UffdWPAsync: true, UffdWPUnpopulated: true, UffdPoison: true, UffdMove: true,
		MTHP: true, FaultMapsShmFolio: true, NoHugeFiles: true, NUMAWholeFolio: true, PopulateStops: true, NUMASharing: NUMASharingPinned,
		KSMZeroDirty: true, CollapseWantsEdge: true, UffdPreparesFirst: true, MergeWantsAnon: true, SplitDropsZeros: true, MovesProtnone: true, SwapLarge: true, PagemapEachOfHuge: true,
		UnwrittenUnaccounted: true, Sharing: SharingGuess, SplitsPartlyMapped: true, DiscardsHuge: true, CollapseNoneBusy: true,
		PageOutKeepsYoung: true, LazyFreeRefsRevive: true,
	}}
}

// Linux7_2 behaves as 7.2.13.
func Linux7_2() Profile {
	p := Linux6_12()
	p.Kernel = x86.Linux7_2()
	p.Policy.ReuseLarge, p.Policy.NUMASharing = ReuseLargeMapcount, NUMASharingMapcount
	p.Policy.SwapInBypasses, p.Policy.LazyFreeRefsRevive = false, false
	p.Policy.UffdCopyEndNoMem, p.Policy.SwapInFreesLast = true, true
	p.Policy.UffdCopyStrict, p.Policy.HugeZeroWPAllocs, p.Policy.FaultMapsFileFolio, p.Policy.ReadFaultDirty = true, true, true, true
	p.Policy.GuardMarkers, p.Policy.NUMASkipPinned, p.Policy.CopyOnForkAnon = true, true, true
	p.Policy.MergeWantsAnon, p.Policy.CollapseWantsEdge, p.Policy.RemapMany = false, false, true
	p.Policy.PagemapEachOfHuge, p.Policy.ZapFreesTables = false, true
	p.Policy.DontUnmapResets = true
	p.Policy.Sharing, p.Policy.DiscardOrKeep, p.Policy.CollapsePassesHoles = SharingExact, true, true
	p.Policy.StickyFlags, p.Policy.LazyFreeClean, p.Policy.DeviceKeepsMapping, p.Policy.UnmapsBatches = true, true, true, true
	return p
}

// Profiles returns the releases, oldest first.
func Profiles() []Profile { return []Profile{Linux6_1(), Linux6_12(), Linux7_2()} }

// Historic is a behaviour that no release models here has any more, or never had: the broken half of a discussion.
type Historic struct {
	Name  string
	Doc   string
	Apply func(p *Policy)
}

var historic = []Historic{
	{"uffd-wp-without-writenotify", "vm_page_prot of a shared area keeps RW under userfaultfd write protection, so that whatever rebuilds an entry from it gives RW back (until 6.1; fixed by 51d3d5eb74ff)",
		func(p *Policy) { p.UffdWritenotify = false }},
	{"restore-write-from-vm-page-prot", "the end of a migration takes RW from vm_page_prot, also for a uffd-wp or read-only entry (until 6.1)",
		func(p *Policy) { p.UffdWritenotify, p.RestoreReadOnly = false, false }},
	{"reuse-by-page-count", "a write fault copies an anonymous page that anybody else holds a reference to (5.9 to 5.18)",
		func(p *Policy) { p.Reuse = ReuseCount }},
	{"reuse-by-mapcount", "a write fault takes an anonymous page that nobody else maps, whoever holds it (until 5.8)",
		func(p *Policy) { p.Reuse = ReuseMapcount }},
	{"clear-refs-shared", "clear_refs write-protects under the mmap lock held for reading, flushes late and spares no pins; write faults do not flush first, and reuse goes by page count (until 5.10)",
		func(p *Policy) {
			p.Reuse, p.ClearRefsShares, p.ClearRefsPinned, p.WPFaultFlushes = ReuseCount, true, true, false
		}},
	{"clear-refs-without-flush", "clear_refs forgets the flush (5.10)",
		func(p *Policy) { p.ClearRefsShares, p.ClearRefsPinned, p.ClearRefsNoFlush = true, true, true }},
	{"wp-fault-without-flush", "a write fault after a resolved write protection does not flush what is still pending, and reuse goes by page count (5.9 to 5.11)",
		func(p *Policy) { p.Reuse, p.WPFaultFlushes = ReuseCount, false }},
	{"cow-in-change-pte-range", "resolving a write protection copies shared pages in the middle of change_pte_range, and goes on without the lock where the copy was not needed any more (draft of March 2019)",
		func(p *Policy) { p.Resolve, p.ResolveUpgrades = ResolveDraft, false }},
	{"cow-in-change-pte-range-v4", "the same, with the lock taken again (draft of April 2019)",
		func(p *Policy) { p.Resolve, p.ResolveUpgrades = ResolveDraftV4, false }},
	{"resolve-without-cow", "resolving a write protection makes entries writable without looking who shares the page (what the draft of 2019 was to prevent)",
		func(p *Policy) { p.Resolve, p.ResolveUpgrades = ResolveNoCOW, false }},
}

// HistoricPolicies returns the historic behaviours, in the order of their documentation.
func HistoricPolicies() []Historic { return slices.Clone(historic) }

// HistoricNamed returns the historic behaviour called name.
func HistoricNamed(name string) (Historic, error) {
	for _, h := range historic {
		if h.Name == name {
			return h, nil
		}
	}
	return Historic{}, fmt.Errorf("mm: no historic policy %q", name)
}
