package x86

// Prot is a page protection: the flag bits that a new entry gets.
//
// Linux: arch/x86/include/asm/pgtable_types.h:pgprot_t
type Prot uint64

// The five protections that user mappings have. ProtNone has no P: its frames are stored inverted.
//
// Linux: arch/x86/include/asm/pgtable_types.h:PAGE_NONE and the following
const (
	ProtNone         Prot = PageAccessed | PageProtnone
	ProtReadonly     Prot = PagePresent | PageUser | PageAccessed | PageNX
	ProtReadonlyExec Prot = PagePresent | PageUser | PageAccessed
	ProtShared       Prot = ProtReadonly | PageRW
	ProtSharedExec   Prot = ProtReadonlyExec | PageRW
)

// Protections of kernel mappings that every kernel has in common, before the encryption bit and
// __default_kernel_pte_mask.
//
// Linux: arch/x86/include/asm/pgtable_types.h:__PAGE_KERNEL and the following
const (
	ProtKernel          Prot = ProtKernelExec | PageNX
	ProtKernelExec      Prot = PagePresent | PageRW | PageAccessed | PageDirty | PageGlobal
	ProtKernelNoCache   Prot = ProtKernel | PagePWT | PagePCD
	ProtKernelLarge     Prot = ProtKernel | PagePSE
	ProtKernelLargeExec Prot = ProtKernelExec | PagePSE
	ProtKernelWP        Prot = ProtKernel | PagePAT | PagePWT
)

// ProtKernelRO returns __PAGE_KERNEL_RO. Kernels that know saved-dirty keep D out of it.
func ProtKernelRO(a *ABI) Prot { return ProtKernelROX(a) | PageNX }

// ProtKernelROX returns __PAGE_KERNEL_ROX.
func ProtKernelROX(a *ABI) Prot {
	p := ProtKernelExec &^ (PageRW | PageDirty)
	if a.kernel.KernelRODirty {
		p |= PageDirty
	}
	return p
}

// ProtKernelVVAR returns __PAGE_KERNEL_VVAR: the read-only kernel data that user code may see.
func ProtKernelVVAR(a *ABI) Prot { return ProtKernelRO(a) | PageUser }

// Massage removes the bits that the processor lacks from a protection with P.
//
// Linux: arch/x86/include/asm/pgtable.h:massage_pgprot()
func (p Prot) Massage(a *ABI) Prot {
	if p&PagePresent != 0 {
		p &= Prot(a.supported)
	}
	return p
}

// Modify keeps the bits of p that an entry keeps when its protection changes, and takes the rest from to.
//
// Linux: arch/x86/include/asm/pgtable.h:pgprot_modify()
func (p Prot) Modify(a *ABI, to Prot) Prot {
	return p&Prot(a.pteChange) | to&^Prot(a.pteChange)
}

// NX returns the protection without execution. Linux: arch/x86/include/asm/pgtable.h:pgprot_nx()
func (p Prot) NX() Prot { return p | PageNX }

// VMFlags are the flags of a virtual memory area, as far as they decide a protection.
//
// Linux: include/linux/mm.h:VM_READ and the following
type VMFlags uint64

// The flags that select a protection or the way to permit writing, and the place of the protection key.
const (
	VMRead   VMFlags = 1 << 0
	VMWrite  VMFlags = 1 << 1
	VMExec   VMFlags = 1 << 2
	VMShared VMFlags = 1 << 3

	VMPkeyShift         = 32
	VMPkeyMask  VMFlags = 0xf << VMPkeyShift

	// VMShadowStack marks an area of shadow-stack pages, from 6.6 on. In 6.1 the bit is VM_UFFD_MINOR.
	VMShadowStack VMFlags = 1 << 37

	vmAccess = VMRead | VMWrite | VMExec | VMShared
)

// protectionMap is indexed by VM_READ | VM_WRITE | VM_EXEC | VM_SHARED. Private writable mappings are read-only
// here: a write must fault first, to copy.
//
// Linux: arch/x86/mm/pgprot.c:protection_map
var protectionMap = [16]Prot{
	0:                                    ProtNone,
	VMRead:                               ProtReadonly,
	VMWrite:                              ProtReadonly,
	VMRead | VMWrite:                     ProtReadonly,
	VMExec:                               ProtReadonlyExec,
	VMRead | VMExec:                      ProtReadonlyExec,
	VMWrite | VMExec:                     ProtReadonlyExec,
	VMRead | VMWrite | VMExec:            ProtReadonlyExec,
	VMShared:                             ProtNone,
	VMShared | VMRead:                    ProtReadonly,
	VMShared | VMWrite:                   ProtShared,
	VMShared | VMRead | VMWrite:          ProtShared,
	VMShared | VMExec:                    ProtReadonlyExec,
	VMShared | VMRead | VMExec:           ProtReadonlyExec,
	VMShared | VMWrite | VMExec:          ProtSharedExec,
	VMShared | VMRead | VMWrite | VMExec: ProtSharedExec,
}

// PagePkey returns the flags that select protection key pkey (0 to 15) of an area.
func PagePkey(pkey int) VMFlags { return VMFlags(pkey) << VMPkeyShift & VMPkeyMask }

// PageProt returns the protection that an area with these flags allows at most by default.
//
// Linux: arch/x86/mm/pgprot.c:vm_get_page_prot()
func (f VMFlags) PageProt(a *ABI) Prot {
	p := protectionMap[f&vmAccess] | Prot(f&VMPkeyMask>>VMPkeyShift<<PageBitPkey0) | Prot(a.paging.EncMask)
	return p.Massage(a)
}
