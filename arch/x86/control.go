package x86

// Bits of CR0.
//
// Intel SDM, "Control Registers"
const (
	CR0PE = 1 << 0 // protected mode
	CR0MP = 1 << 1
	CR0EM = 1 << 2
	CR0TS = 1 << 3
	CR0ET = 1 << 4
	CR0NE = 1 << 5
	CR0WP = 1 << 16 // supervisor-mode writes respect R/W
	CR0AM = 1 << 18
	CR0NW = 1 << 29
	CR0CD = 1 << 30
	CR0PG = 1 << 31 // paging
)

// CR3PCIDMask is the field of CR3 that holds the process-context identifier, if CR4.PCIDE is set.
const CR3PCIDMask = 0xfff

// Bits of CR4.
//
// Intel SDM, "Control Registers"
const (
	CR4VME        = 1 << 0
	CR4PVI        = 1 << 1
	CR4TSD        = 1 << 2
	CR4DE         = 1 << 3
	CR4PSE        = 1 << 4 // 4 MiB pages of 32-bit paging; without effect in long mode
	CR4PAE        = 1 << 5 // 64-bit entries
	CR4MCE        = 1 << 6
	CR4PGE        = 1 << 7 // global pages
	CR4PCE        = 1 << 8
	CR4OSFXSR     = 1 << 9
	CR4OSXMMEXCPT = 1 << 10
	CR4UMIP       = 1 << 11
	CR4LA57       = 1 << 12 // 5 levels
	CR4VMXE       = 1 << 13
	CR4SMXE       = 1 << 14
	CR4FSGSBASE   = 1 << 16
	CR4PCIDE      = 1 << 17 // PCIDs
	CR4OSXSAVE    = 1 << 18
	CR4KL         = 1 << 19
	CR4SMEP       = 1 << 20 // no supervisor-mode fetch from user addresses
	CR4SMAP       = 1 << 21 // no supervisor-mode data access to user addresses, unless RFLAGS.AC
	CR4PKE        = 1 << 22 // protection keys of user addresses
	CR4CET        = 1 << 23 // shadow stacks and indirect-branch tracking
	CR4PKS        = 1 << 24 // protection keys of supervisor addresses
	CR4UINTR      = 1 << 25
	CR4LASS       = 1 << 27
	CR4LAMSup     = 1 << 28
	CR4FRED       = 1 << 32
)

// Bits of IA32_EFER.
//
// Intel SDM, "IA32_EFER MSR Information"; AMD APM volume 2, "Extended Feature Enable Register (EFER)"
const (
	EFERSCE     = 1 << 0  // SYSCALL
	EFERLME     = 1 << 8  // long mode wanted
	EFERLMA     = 1 << 10 // long mode active
	EFERNXE     = 1 << 11 // bit 63 of an entry is XD
	EFERSVME    = 1 << 12
	EFERLMSLE   = 1 << 13
	EFERFFXSR   = 1 << 14
	EFERTCE     = 1 << 15
	EFERMCOMMIT = 1 << 17
	EFERINTWB   = 1 << 18
	EFERUAIE    = 1 << 20
	EFERAIBRSE  = 1 << 21
)

// RFLAGSAC is RFLAGS.AC, which lifts SMAP. STAC sets it.
const RFLAGSAC = 1 << 18
