package x86

// Bit numbers of an entry. T, M, U, 4, G are the levels PTE, PMD, PUD, P4D, PGD; "leaf" is an entry that maps
// memory. HW: the processor reads or writes the bit. SW: only Linux does. Bits 52 to 56 have no use; the processor
// ignores them.
//
// Linux: arch/x86/include/asm/pgtable_types.h; Intel SDM, "Paging-Structure Entries"
const (
	PageBitPresent   = 0  // HW. All levels: the entry is valid for the processor.
	PageBitRW        = 1  // HW. All levels: writable, if all levels above agree.
	PageBitUser      = 2  // HW. All levels: user accessible, if all levels above agree.
	PageBitPWT       = 3  // HW. All levels: cache attribute bit 0 of the page, or of the table pointed to.
	PageBitPCD       = 4  // HW. All levels: cache attribute bit 1.
	PageBitAccessed  = 5  // HW sets it, at all levels, when a translation uses the entry; SW sets and clears.
	PageBitDirty     = 6  // HW sets it in a leaf that is written through. In table entries HW ignores it; Linux sets it.
	PageBitPAT       = 7  // HW. T: cache attribute bit 2.
	PageBitPSE       = 7  // HW. M, U: the entry is a leaf of 2 MiB or 1 GiB. Reserved in 4, G.
	PageBitGlobal    = 8  // HW (CR4.PGE). Leaf: survives a CR3 load. Linux: kernel memory, without PTI.
	PageBitProtnone  = 8  // SW. T, M with P=0: a page that exists but permits nothing.
	PageBitSpecial   = 9  // SW (SOFTW1). T: no struct page is involved; M, U the same from 6.12 on.
	PageBitCPATest   = 9  // SW (SOFTW1). T, M, U of kernel mappings: the self-test of CONFIG_CPA_DEBUG marks with it.
	PageBitUffdWP    = 10 // SW (SOFTW2). T, M, of hugetlbfs U: write-protected through userfaultfd.
	PageBitSoftDirty = 11 // SW (SOFTW3). T, M, U of user mappings: written since clear_refs.
	PageBitKernel4K  = 11 // SW (SOFTW3). T of kernel mappings, 7.2: must stay 4 KiB.
	PageBitPATLarge  = 12 // HW. M, U leaf: cache attribute bit 2. Frame bit 0 elsewhere.
	PageBitSoftW4    = 57 // SW, from 6.12 on. T, M, U: DEVMAP in 6.12, no user in 7.2.
	PageBitSoftW5    = 58 // SW. 6.1: its SOFTW4, DEVMAP (T, M, U). From 6.12 on SOFTW5: SAVED_DIRTY (leaf), NOPTISHADOW (root).
	PageBitPkey0     = 59 // HW (CR4.PKE). Leaf of user memory: protection key, bits 59 to 62.
	PageBitNX        = 63 // HW (EFER.NXE). All levels: no instruction fetch below.
)

// The same bits as masks. DEVMAP and SAVED_DIRTY, whose place depends on the kernel, are methods of [ABI]; NOPTISHADOW
// is PageSoftW5 where [Kernel] has it.
const (
	PagePresent   = 1 << PageBitPresent
	PageRW        = 1 << PageBitRW
	PageUser      = 1 << PageBitUser
	PagePWT       = 1 << PageBitPWT
	PagePCD       = 1 << PageBitPCD
	PageAccessed  = 1 << PageBitAccessed
	PageDirty     = 1 << PageBitDirty
	PagePAT       = 1 << PageBitPAT
	PagePSE       = 1 << PageBitPSE
	PageGlobal    = 1 << PageBitGlobal
	PageProtnone  = 1 << PageBitProtnone
	PageSpecial   = 1 << PageBitSpecial
	PageCPATest   = 1 << PageBitCPATest
	PageUffdWP    = 1 << PageBitUffdWP
	PageSoftDirty = 1 << PageBitSoftDirty
	PageKernel4K  = 1 << PageBitKernel4K
	PagePATLarge  = 1 << PageBitPATLarge
	PageSoftW4    = 1 << PageBitSoftW4
	PageSoftW5    = 1 << PageBitSoftW5
	PagePkeyMask  = 0xf << PageBitPkey0
	PageNX        = 1 << PageBitNX
)

// Combinations that the kernel names.
const (
	PageKnlErratumMask = PageAccessed | PageDirty // stray bits that the none tests ignore
	PageCacheMask      = PagePAT | PagePCD | PagePWT
	PageLargeCacheMask = PagePATLarge | PagePCD | PagePWT
	PageTable          = PagePresent | PageRW | PageUser | PageAccessed | PageDirty // _PAGE_TABLE, without ENC
	PageKernPgTable    = PagePresent | PageRW | PageAccessed | PageDirty            // _KERNPG_TABLE, without ENC
)

// Reuse of low bits in a non-present entry that is not PROT_NONE.
//
// Linux: arch/x86/include/asm/pgtable_types.h:_PAGE_SWP_SOFT_DIRTY, _PAGE_SWP_UFFD_WP, _PAGE_SWP_EXCLUSIVE
const (
	PageSwpSoftDirty = PageRW   // T, M: the page was soft-dirty when it left
	PageSwpUffdWP    = PageUser // T, M: it was uffd write-protected
	PageSwpExclusive = PagePWT  // T: it was exclusive to this process
)

// pfnMask52 is the frame field of a 4 KiB entry: bits 12 to 51.
const pfnMask52 = 1<<52 - PageSize
