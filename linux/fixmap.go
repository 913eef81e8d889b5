package linux

import (
	"fmt"

	"ptemu/arch/x86"
)

// Physical addresses that PCs give to the local APIC and to the first I/O APIC, and how many of the latter the
// fixmap has slots for.
//
// Linux: arch/x86/include/asm/apicdef.h:APIC_DEFAULT_PHYS_BASE, IO_APIC_DEFAULT_PHYS_BASE, MAX_IO_APICS
const (
	apicPhys   x86.Phys = 0xfee00000
	ioapicPhys x86.Phys = 0xfec00000
	ioapics             = 128
)

// fixmap works out FIXADDR_START. The fixmap's slots are pages that count down from fixaddrTop; which exist depends
// on the configuration. In order: the slots that the vsyscall page takes up (512, where the kernel has that page), the
// debug port, the early console, (OHCI), the local APIC, 128 I/O APICs, (Xen: 1), (APEI: 2). The mapping of an APIC
// tells how many precede it.
//
// Linux: arch/x86/include/asm/fixmap.h:enum fixed_addresses, FIXADDR_START
func (f *finder) fixmap() Base {
	slots, why := minFixmapSlots, "no APIC is mapped, and no vsyscall page"
	vsyscall := false
	found := false
	for va := modulesEnd; va <= fixaddrTop; va += x86.PageSize {
		e, ok := f.first(va, fixaddrTop, x86.LevelPTE)
		if !ok {
			break
		}
		va = max(va, e.va)
		index := int((fixaddrTop - va) >> x86.PageShift)
		switch pa := f.w.phys(e); {
		case e.level != x86.LevelPTE:
			va = e.end() &^ (x86.PageSize - 1)
		case va == vsyscallAddr:
			vsyscall = true
		case pa == apicPhys:
			slots, why, found = index, fmt.Sprintf("the local APIC is mapped at %v", va), true
		case pa == ioapicPhys && !found:
			slots, why, found = index-1, fmt.Sprintf("the I/O APIC is mapped at %v", va), true
		}
	}
	if !found && vsyscall {
		slots, why = int((fixaddrTop-vsyscallAddr)>>x86.PageShift)+3, "no APIC is mapped; the vsyscall page is"
	}
	return Base{fixmapStart(slots), found, why}
}

// minFixmapSlots is the number of slots before the local APIC's in the smallest configuration.
const minFixmapSlots = 2

// fixmapStart returns FIXADDR_START of a fixmap with so many slots before the local APIC's, and none behind those of
// the I/O APICs.
func fixmapStart(beforeAPIC int) x86.Virt {
	return fixaddrTop - x86.Virt(beforeAPIC+1+ioapics)<<x86.PageShift
}

// extraFixmapSlots is what the usual configuration of distributions adds: a page for Xen and two for APEI.
const extraFixmapSlots = 3
