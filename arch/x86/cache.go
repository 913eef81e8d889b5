package x86

// CacheMode is how Linux names the cacheability of a mapping.
//
// Linux: arch/x86/include/asm/pgtable_types.h:enum page_cache_mode
type CacheMode uint8

// The cache modes, in the kernel's order.
const (
	CacheWB      CacheMode = iota // write back
	CacheWC                       // write combining
	CacheUCMinus                  // uncached, unless an MTRR says write combining
	CacheUC                       // uncached
	CacheWT                       // write through
	CacheWP                       // write protected
)

// String returns the usual abbreviation: "WB", "WC", "UC-", "UC", "WT", "WP".
func (c CacheMode) String() string {
	return [...]string{"WB", "WC", "UC-", "UC", "WT", "WP", "?", "?"}[c&7]
}

// Protval returns the cache attribute bits of a 4 KiB entry for the mode, with the PAT that Linux programs; 0 for
// a value that is no mode.
//
// Linux: arch/x86/mm/init.c:cachemode2protval()
func (c CacheMode) Protval() Prot {
	return [...]Prot{CacheWC: PagePWT, CacheUCMinus: PagePCD, CacheUC: PagePWT | PagePCD,
		CacheWT: PagePAT | PagePCD | PagePWT, CacheWP: PagePAT | PagePWT, 7: 0}[c&7]
}

// patIndex returns the PAT entry that the cache attribute bits of a 4 KiB entry select: PAT, PCD, PWT.
func patIndex(v uint64) int {
	return int(v>>PageBitPAT&1<<2 | v>>PageBitPCD&1<<1 | v>>PageBitPWT&1)
}

// CacheMode returns the mode that the bits of a 4 KiB protection select, with the PAT that Linux programs.
//
// Linux: arch/x86/mm/init.c:pgprot2cachemode()
func (p Prot) CacheMode() CacheMode {
	return [8]CacheMode{CacheWB, CacheWC, CacheUCMinus, CacheUC, CacheWB, CacheWP, CacheUCMinus, CacheWT}[patIndex(uint64(p))]
}

// Noncached returns the protection made UC-. Linux: arch/x86/include/asm/pgtable.h:pgprot_noncached()
func (p Prot) Noncached() Prot { return p | PagePCD }

// WriteCombine returns the protection made write combining. Kernels before 7.2 only OR the bit in, and get UC for
// what was UC- already.
//
// Linux: arch/x86/mm/pat/memtype.c:pgprot_writecombine()
func (p Prot) WriteCombine(a *ABI) Prot {
	if a.kernel.WriteCombineReplaces {
		p &^= PageCacheMask
	}
	return p | PagePWT
}

// ToLarge moves the PAT bit from its 4 KiB place (7) to its large-page place (12).
//
// Linux: arch/x86/include/asm/pgtable_types.h:protval_4k_2_large()
func (p Prot) ToLarge() Prot {
	return p&^(PagePAT|PagePATLarge) | p&PagePAT<<(PageBitPATLarge-PageBitPAT)
}

// LargeTo4K moves the PAT bit from its large-page place (12) to its 4 KiB place (7).
//
// Linux: arch/x86/include/asm/pgtable_types.h:protval_large_2_4k()
func (p Prot) LargeTo4K() Prot {
	return p&^(PagePAT|PagePATLarge) | p&PagePATLarge>>(PageBitPATLarge-PageBitPAT)
}

// PAT is the value of the IA32_PAT register: eight memory types of a byte each.
//
// Intel SDM, "Page Attribute Table (PAT)"
type PAT uint64

// PATLinux is what Linux programs on a processor with a full PAT: WB WC UC- UC WB WP UC- WT.
//
// Linux: arch/x86/mm/pat/memtype.c:pat_bp_init()
const PATLinux PAT = 0x0407_0506_0007_0106

// MemType is a memory type as the PAT encodes it.
type MemType uint8

// String returns the abbreviation of the SDM; a reserved encoding is "reserved".
func (t MemType) String() string {
	switch t {
	case 0:
		return "UC"
	case 1:
		return "WC"
	case 4:
		return "WT"
	case 5:
		return "WP"
	case 6:
		return "WB"
	case 7:
		return "UC-"
	}
	return "reserved"
}

// MemType returns the type that an entry of level l selects. leaf says whether it maps a page: a large leaf has
// its PAT bit at 12, a table entry has none.
func (p PAT) MemType(l Level, leaf bool, entry uint64) MemType {
	switch {
	case !leaf:
		entry &^= PagePAT
	case l > LevelPTE:
		entry = uint64(Prot(entry).LargeTo4K())
	}
	return MemType(p >> (8 * patIndex(entry)) & 7)
}
