package linux

import (
	"fmt"

	"ptemu/arch/x86"
)

// kernelSpace is where the kernel's own dump starts its second part, whatever the levels.
const kernelSpace x86.Virt = 1 << 63

// KernelMarkers returns the markers of the kernel's own dump (debugfs page_tables/*), in its order. Four of them
// exist only in some configurations: LDT, KASAN, espfix and EFI.
//
// What decides is the kernel's own configuration where the capture has it, else the tables: KASAN's shadow and the
// espfix area are populated at boot. Both espfix and the LDT marker need CONFIG_MODIFY_LDT_SYSCALL, so with an espfix
// area there is an LDT marker, and without one there is neither, unless the processor has FRED, which makes the
// kernel do without espfix. [System.Assumptions] says what was decided without proof.
//
// Linux: arch/x86/mm/dump_pagetables.c:address_markers
func KernelMarkers(s *System) []Marker {
	l := s.Layout
	m := []Marker{
		{Addr: 0, Name: "User Space", Region: RegionUser},
		{Addr: kernelSpace, Name: "Kernel Space", Region: RegionHole},
	}
	add := func(on bool, addr x86.Virt, name string, r Region, maxLines int) {
		if on {
			m = append(m, Marker{addr, name, r, maxLines})
		}
	}
	add(s.kernelDump.LDT, l.geo.ldt, "LDT remap", RegionLDT, 0)
	add(true, l.DirectMap.Addr, "Low Kernel Mapping", RegionDirectMap, 0)
	add(true, l.VMalloc.Addr, "vmalloc() Area", RegionVMalloc, 0)
	add(true, l.VMemmap.Addr, "Vmemmap", RegionVMemmap, 0)
	add(l.KASAN, l.geo.kasan, "KASAN shadow", RegionKASAN, 0)
	add(l.KASAN, kasanEnd, "KASAN shadow end", RegionHole, 0)
	add(true, cpuEntryArea, "CPU entry Area", RegionCPUEntry, 0)
	add(s.kernelDump.ESPFix, espfixBase, "ESPfix Area", RegionESPFix, 16)
	add(s.kernelDump.EFI, efiBase, "EFI Runtime Services", RegionEFI, 0)
	add(true, startKernelMap, "High Kernel Mapping", RegionText, 0)
	add(true, startKernelMap+x86.Virt(l.ImageSize), "Modules", RegionModules, 0)
	add(true, modulesEnd, "End Modules", RegionHole, 0)
	add(true, s.kernelDump.Fixmap, "Fixmap Area", RegionFixmap, 0)
	return m
}

// KernelDump is what the markers of the kernel's dump depend on: which of them there are, and where the fixmap begins.
type KernelDump struct {
	LDT    bool     `json:"ldt"`
	ESPFix bool     `json:"espfix"`
	EFI    bool     `json:"efi"`
	Fixmap x86.Virt `json:"fixmap"` // FIXADDR_START
}

// decideKernelDump fills in what KernelMarkers needs. Its assumptions matter to the kernel's style of dump only.
func (s *System) decideKernelDump(config buildConfig, cpus []CPU, kept *KernelDump) {
	l, k := s.Layout, &s.kernelDump
	const (
		ldt    = "marker LDT remap"
		espfix = "marker ESPfix Area"
		efi    = "marker EFI Runtime Services"
		fixmap = "marker Fixmap Area"
	)
	if kept != nil {
		*k = *kept
		s.fact("markers of the kernel's dump", fmt.Sprintf("LDT %s, ESPfix %s, EFI %s, fixmap %v", onOff(k.LDT), onOff(k.ESPFix), onOff(k.EFI), k.Fixmap), keptWhy)
		return
	}
	k.Fixmap = l.FixmapStart.Addr
	if config != nil {
		k.LDT, k.ESPFix, k.EFI = config.on("MODIFY_LDT_SYSCALL"), config.on("X86_ESPFIX64"), config.on("EFI")
		slots := 0
		if config.on("PARAVIRT_XXL") {
			slots++
		}
		if config.on("ACPI_APEI_GHES") {
			slots += 2
		}
		k.Fixmap -= x86.Virt(slots) << x86.PageShift
		return
	}
	fred := false
	for _, c := range cpus {
		fred = fred || c.CR4&cr4FRED != 0
	}
	switch {
	case l.ESPFix:
		k.LDT, k.ESPFix = true, true
	case fred:
		k.LDT, k.ESPFix = true, true
		s.assume(espfix, "shown", "it is empty because the processor has FRED; kernels have it unless built without it")
		s.assume(ldt, "shown", "kernels have it unless built without it")
	default:
		s.assume(ldt, "not shown", "there is no espfix area, as in kernels built without CONFIG_MODIFY_LDT_SYSCALL")
	}
	k.EFI = true
	s.assume(efi, "shown", "kernels have CONFIG_EFI unless built without it")
	why := l.FixmapStart.Why
	if distribution(s.Release) {
		k.Fixmap -= extraFixmapSlots << x86.PageShift
		why += "; with the pages for Xen and APEI that distributions configure"
	}
	s.assume(fixmap, k.Fixmap.String(), why)
}
