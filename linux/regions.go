package linux

import (
	"fmt"
	"sort"

	"ptemu/arch/x86"
)

// Region is the purpose of a part of the address space.
type Region uint8

// The regions, in the order of their addresses.
const (
	RegionUser      Region = iota
	RegionHole             // nothing of the kernel's own belongs here
	RegionGuard            // left to a hypervisor
	RegionLDT              // LDTs, for PTI
	RegionDirectMap        // all RAM
	RegionVMalloc          // vmalloc, ioremap, kernel stacks
	RegionVMemmap          // struct page of every frame
	RegionKASAN            // KASAN's shadow
	RegionCPUEntry         // what a CPU needs while it enters the kernel
	RegionESPFix           // stacks for IRET to 16-bit code
	RegionEFI              // EFI runtime services, only in EFI's own tables
	RegionText             // the kernel image
	RegionModules
	RegionFixmap
	RegionVsyscall
)

var regionNames = [...]string{
	"user", "hole", "guard hole", "LDT remap", "direct map", "vmalloc", "vmemmap", "KASAN shadow", "CPU entry area",
	"espfix", "EFI", "kernel text", "modules", "fixmap", "vsyscall",
}

// String returns the name that ptdump prints.
func (r Region) String() string {
	if int(r) < len(regionNames) {
		return regionNames[r]
	}
	return fmt.Sprintf("region(%d)", uint8(r))
}

// Marker is the start of a region, which ends where the next marker stands.
type Marker struct {
	Addr   x86.Virt
	Name   string
	Region Region
	// MaxLines is how many ranges the kernel's own dump prints of the region, 0 for all. Only [KernelMarkers]
	// sets it.
	MaxLines int
}

// Addresses that are the same in every x86-64 kernel.
//
// Linux: Documentation/arch/x86/x86_64/mm.rst; arch/x86/include/asm/pgtable_64_types.h, page_64_types.h, fixmap.h
const (
	cpuEntryArea   x86.Virt = 0xfffffe0000000000 // CPU_ENTRY_AREA_BASE, 512 GiB; also the end of what KASLR moves
	espfixBase     x86.Virt = 0xffffff0000000000 // ESPFIX_BASE_ADDR, 512 GiB
	efiBase        x86.Virt = 0xffffffef00000000 // EFI_VA_END: mappings grow down towards it from EFI_VA_START
	efiEnd         x86.Virt = 0xffffffff00000000 // EFI_VA_START
	startKernelMap x86.Virt = 0xffffffff80000000 // __START_KERNEL_map
	modulesEnd     x86.Virt = 0xffffffffff000000 // MODULES_END
	vsyscallAddr   x86.Virt = 0xffffffffff600000 // VSYSCALL_ADDR, one page
	fixaddrTop     x86.Virt = 0xffffffffff7ff000 // FIXADDR_TOP: the page of fixmap slot 0
	kasanEnd       x86.Virt = 0xfffffc0000000000 // KASAN_SHADOW_END

	gib          = 1 << 30
	linkAddress  = startKernelMap + 16<<20 // of _text without KASLR (CONFIG_PHYSICAL_START)
	smallImage   = gib / 2                 // KERNEL_IMAGE_SIZE without CONFIG_RANDOMIZE_BASE
	largeImage   = gib                     // KERNEL_IMAGE_SIZE with it
	pageStruct   = 64                      // sizeof(struct page), where the capture does not say
	upperP4DSpan = 1 << 39                 // of one P4D entry: size of CPU entry area and espfix
)

// geometry holds the addresses that depend on the number of levels. Those of the three areas that KASLR moves are
// where they lie without it.
type geometry struct {
	userEnd                 x86.Virt
	guard, ldt, direct      x86.Virt
	vmalloc, vmemmap, kasan x86.Virt
	vmallocSize             uint64
	physBits                uint // MAX_PHYSMEM_BITS
}

// Linux: arch/x86/include/asm/pgtable_64_types.h:LDT_BASE_ADDR, GUARD_HOLE_BASE_ADDR, VMALLOC_SIZE_TB;
// arch/x86/include/asm/kasan.h:KASAN_SHADOW_START
func geometryOf(p x86.Paging) geometry {
	if p.Levels == 5 {
		return geometry{
			userEnd: 0x0100000000000000,
			guard:   0xff00000000000000, ldt: 0xff10000000000000, direct: 0xff11000000000000,
			vmalloc: 0xffa0000000000000, vmemmap: 0xffd4000000000000, kasan: 0xffdffc0000000000,
			vmallocSize: 12800 << 40, physBits: 52,
		}
	}
	return geometry{
		userEnd: 0x0000800000000000,
		guard:   0xffff800000000000, ldt: 0xffff880000000000, direct: 0xffff888000000000,
		vmalloc: 0xffffc90000000000, vmemmap: 0xffffea0000000000, kasan: 0xffffec0000000000,
		vmallocSize: 32 << 40, physBits: 46,
	}
}

// GuardHole returns the first and last address of the part of the kernel half that Linux leaves to a hypervisor.
// The kernel's own dump does not look there, nor at the addresses that are not canonical.
//
// Linux: arch/x86/mm/dump_pagetables.c:ptdump_walk_pgd_level_core()
func GuardHole(p x86.Paging) (first, last x86.Virt) {
	g := geometryOf(p)
	return g.guard, g.ldt - 1
}

// RegionAt returns the last marker at or below va. The markers must be ascending and start at 0.
func RegionAt(markers []Marker, va x86.Virt) Marker {
	i := sort.Search(len(markers), func(i int) bool { return markers[i].Addr > va })
	if i == 0 {
		return Marker{Region: RegionHole, Name: RegionHole.String()}
	}
	return markers[i-1]
}
