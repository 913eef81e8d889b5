package linux

import (
	"cmp"
	"fmt"
	"slices"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// Base is where an area starts, and how we know.
type Base struct {
	Addr x86.Virt
	// Found says that the capture shows the address. Otherwise Addr is where the area lies without KASLR.
	Found bool
	Why   string
}

// Layout is the map of the kernel half of one capture.
type Layout struct {
	// DirectMap, VMalloc and VMemmap are page_offset_base, vmalloc_base and vmemmap_base.
	DirectMap, VMalloc, VMemmap Base
	// DirectMapEnd is the end of what the direct map maps; the machine's RAM ends at DirectMapEnd less DirectMap.
	// 0 if no direct map was found.
	DirectMapEnd x86.Virt
	// TextFirst and TextLast are the first and last address mapped in the kernel image's area; both 0 if none is.
	TextFirst, TextLast x86.Virt
	// PhysBase is the physical address that startKernelMap would have: phys_base. It holds if TextFirst is not 0.
	PhysBase x86.Phys
	// ImageSize is KERNEL_IMAGE_SIZE: the image's area ends and that of the modules starts so far above 2 GiB from
	// the top.
	ImageSize uint64
	// KASAN and ESPFix say that the tables hold these areas.
	KASAN, ESPFix bool
	// FixmapStart is the kernel's FIXADDR_START, as far as the tables and the release tell.
	FixmapStart Base
	// NXSeen says that a kernel mapping has NX set.
	NXSeen bool
	// Missed says that a table which may hold a part of all this is not in the capture.
	Missed bool

	geo geometry
}

// RAMEnd returns the physical address that RAM ends at according to the direct map, 0 if there is none.
func (l *Layout) RAMEnd() x86.Phys {
	if l.DirectMapEnd == 0 {
		return 0
	}
	return x86.Phys(l.DirectMapEnd - l.DirectMap.Addr)
}

// FindLayout reads the upper tables below root, which should be init_mm's or the kernel root of a process, and
// derives the layout. vmci may be nil; what it says wins over what the tables suggest. The warnings tell where the
// two differ.
func FindLayout(mem physmem.Reader, abi *x86.ABI, root x86.PFN, vmci *VMCoreInfo) (*Layout, []string) {
	f := newFinder(newWalker(mem, abi, layoutBudget), root, vmci)
	f.text()
	f.movable()
	f.fixed()
	f.l.Missed = f.w.missed
	if f.err != nil {
		f.warn("the layout is incomplete: %v below root %v", f.err, root.Phys())
	}
	return f.l, f.warnings
}

// finder fills a layout in.
type finder struct {
	w        *walker
	root     x86.PFN
	l        *Layout
	vmci     *VMCoreInfo
	warnings []string
	err      error
}

func newFinder(w *walker, root x86.PFN, vmci *VMCoreInfo) *finder {
	return &finder{w: w, root: root, vmci: vmci, l: &Layout{geo: geometryOf(w.abi.Paging())}}
}

func (f *finder) warn(format string, args ...any) {
	f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
}

func (f *finder) first(from, last x86.Virt, stop x86.Level) (entry, bool) {
	e, ok, err := f.w.first(f.root, from, last, stop)
	f.err = cmp.Or(f.err, err)
	return e, ok
}

func (f *finder) final(from, last x86.Virt, stop x86.Level) (entry, bool) {
	e, ok, err := f.w.final(f.root, from, last, stop)
	f.err = cmp.Or(f.err, err)
	return e, ok
}

// text finds the kernel image.
func (f *finder) text() {
	l := f.l
	size, ok := f.vmci.Number("KERNEL_IMAGE_SIZE")
	if l.ImageSize = uint64(size); !ok || l.ImageSize != smallImage && l.ImageSize != largeImage {
		if ok {
			f.warn("VMCOREINFO: KERNEL_IMAGE_SIZE %#x is neither 512 MiB nor 1 GiB", size)
		}
		l.ImageSize = largeImage
	}
	first, ok := f.first(startKernelMap, startKernelMap+x86.Virt(l.ImageSize)-1, x86.LevelPTE)
	if !ok {
		return
	}
	last, ok := f.final(first.va, startKernelMap+x86.Virt(l.ImageSize)-1, x86.LevelPTE)
	if !ok {
		return
	}
	l.TextFirst, l.TextLast = first.va, last.end()
	l.PhysBase = f.w.phys(first) - x86.Phys(first.va-startKernelMap)
	l.NXSeen = last.raw&x86.PageNX != 0
}

// slot is one gigabyte of address space that an entry is present for.
type slot struct {
	va          x86.Virt
	first, last entry // its leaves; level 0 if it has none
}

// nextSlot returns the first used gigabyte in [from, last].
func (f *finder) nextSlot(from, last x86.Virt) (slot, bool) {
	e, ok := f.first(from, last, x86.LevelPUD)
	if !ok {
		return slot{}, false
	}
	s := slot{va: e.va}
	s.first, ok = f.first(e.va, e.end(), x86.LevelPTE)
	if ok {
		s.last, _ = f.final(e.va, e.end(), x86.LevelPTE)
	}
	return s, true
}

// base returns virtual minus physical address of the slot's mappings, if that is the same for the first and the last.
func (f *finder) base(s slot) (x86.Virt, bool) {
	if s.first.level == 0 || s.last.level == 0 {
		return 0, false
	}
	b := s.first.va - x86.Virt(f.w.phys(s.first))
	return b, b == s.last.va-x86.Virt(f.w.phys(s.last))
}

// movable finds the three areas that KASLR moves.
func (f *finder) movable() {
	l, g := f.l, f.l.geo
	l.DirectMap = Base{Addr: g.direct, Why: "where it lies without KASLR; no linear mapping found"}
	l.VMalloc = Base{Addr: g.vmalloc, Why: "where it lies without KASLR; no mapping found"}
	l.VMemmap = Base{Addr: g.vmemmap, Why: "where it lies without KASLR; no mapping found"}

	if behind, ok := f.directMap(); ok {
		if s, ok := f.nextSlot(behind, cpuEntryArea-1); ok {
			l.VMalloc = Base{s.va, true, "first used gigabyte above the direct map"}
		}
	}
	start, ok := f.vmci.Number("VMALLOC_START")
	if addr := x86.Virt(start); ok && f.movableAddr("NUMBER(VMALLOC_START)", addr) {
		if l.VMalloc.Found && l.VMalloc.Addr != addr {
			f.warn("VMCOREINFO puts the vmalloc area at %v, the tables at %v", addr, l.VMalloc.Addr)
		}
		l.VMalloc = Base{addr, true, "VMCOREINFO NUMBER(VMALLOC_START)"}
	}
	if l.VMalloc.Found && l.VMalloc.Addr < cpuEntryArea-x86.Virt(g.vmallocSize) {
		if s, ok := f.nextSlot(l.VMalloc.Addr+x86.Virt(g.vmallocSize), cpuEntryArea-1); ok {
			l.VMemmap = Base{s.va, true, "first used gigabyte above the vmalloc area"}
		}
	}
	if addr, ok := f.vmci.Symbol("vmemmap"); ok && f.movableAddr("SYMBOL(vmemmap)", addr) {
		if l.VMemmap.Found && l.VMemmap.Addr != addr {
			f.warn("VMCOREINFO puts the vmemmap at %v, the tables at %v", addr, l.VMemmap.Addr)
		}
		l.VMemmap = Base{addr, true, "VMCOREINFO SYMBOL(vmemmap)"}
	}
}

// movableAddr reports whether an address from VMCOREINFO lies where KASLR moves areas about, and warns if not.
func (f *finder) movableAddr(what string, addr x86.Virt) bool {
	if addr > f.l.geo.direct && addr < cpuEntryArea && addr&(gib-1) == 0 {
		return true
	}
	f.warn("VMCOREINFO %s is left out: %v is no place for it", what, addr)
	return false
}

// directMap finds the direct map: from the lowest used gigabyte on, the first that is mapped linearly to a base on a
// gigabyte boundary. It ends before the first used gigabyte that does not fit, which it returns the address of.
// Gigabytes that have tables but no mapping belong to whatever follows them.
func (f *finder) directMap() (behind x86.Virt, ok bool) {
	l := f.l
	var empty x86.Virt // the first of the empty gigabytes just passed
	for va := l.geo.direct; va < cpuEntryArea; va += gib {
		s, used := f.nextSlot(va, cpuEntryArea-1)
		if !used {
			break
		}
		va = s.va
		base, linear := f.base(s)
		switch {
		case s.first.level == 0:
			empty = cmp.Or(empty, va)
			continue
		case l.DirectMap.Found && (!linear || base != l.DirectMap.Addr):
			return cmp.Or(empty, va), true
		case !l.DirectMap.Found && (!linear || base&(gib-1) != 0 || base < l.geo.direct || base > va):
			continue
		}
		empty = 0
		l.DirectMap = Base{base, true, "virtual minus physical address of its mappings"}
		l.DirectMapEnd = s.last.end() + 1
		l.NXSeen = l.NXSeen || s.first.raw&x86.PageNX != 0
	}
	return cmp.Or(empty, cpuEntryArea), l.DirectMap.Found
}

// fixed looks into the areas that never move, for what depends on the kernel's configuration.
func (f *finder) fixed() {
	l := f.l
	_, l.ESPFix = f.first(espfixBase, espfixBase+upperP4DSpan-1, x86.LevelP4D)
	l.KASAN = f.kasan()
	l.FixmapStart = f.fixmap()
}

// kasan reports whether every root entry of the shadow's area is present. KASAN fills the area whole; without it only
// a part can be used, by a vmemmap that KASLR put there.
//
// Linux: arch/x86/mm/kasan_init_64.c:kasan_init()
func (f *finder) kasan() bool {
	root := f.w.abi.Paging().Root()
	span := x86.Virt(root.Size())
	for va := (f.l.geo.kasan + span - 1) &^ (span - 1); va < kasanEnd&^(span-1); va += span {
		if _, ok := f.first(va, va+span-1, root); !ok {
			return false
		}
	}
	return true
}

// Markers returns the regions of the whole address space, ascending, the first at 0. A region that is not part of
// this kernel's configuration may be among them: it is then empty.
func (l *Layout) Markers() []Marker {
	type area struct {
		r          Region
		start, end x86.Virt
	}
	g := l.geo
	directEnd := l.VMalloc.Addr
	if l.DirectMapEnd != 0 {
		directEnd = (l.DirectMapEnd + gib - 1) &^ (gib - 1)
	}
	vmemmapEnd := l.VMemmap.Addr + pageStruct<<(g.physBits-x86.PageShift)
	modules := startKernelMap + x86.Virt(l.ImageSize)
	areas := []area{
		{RegionUser, 0, g.userEnd},
		{RegionGuard, g.guard, g.ldt},
		{RegionLDT, g.ldt, g.direct},
		{RegionDirectMap, l.DirectMap.Addr, directEnd},
		{RegionVMalloc, l.VMalloc.Addr, l.VMalloc.Addr + x86.Virt(g.vmallocSize)},
		{RegionVMemmap, l.VMemmap.Addr, min(vmemmapEnd, cpuEntryArea)},
		{RegionCPUEntry, cpuEntryArea, cpuEntryArea + upperP4DSpan},
		{RegionESPFix, espfixBase, espfixBase + upperP4DSpan},
		{RegionEFI, efiBase, efiEnd},
		{RegionText, startKernelMap, modules},
		{RegionModules, modules, modulesEnd},
		{RegionFixmap, modulesEnd, vsyscallAddr},
		{RegionVsyscall, vsyscallAddr, vsyscallAddr + x86.PageSize},
		{RegionFixmap, vsyscallAddr + x86.PageSize, fixaddrTop + x86.PageSize},
	}
	if l.KASAN {
		areas = append(areas, area{RegionKASAN, g.kasan, kasanEnd})
	}
	slices.SortStableFunc(areas, func(a, b area) int { return cmp.Compare(a.start, b.start) })
	var out []Marker
	for i, a := range areas {
		end := a.end
		if i+1 < len(areas) {
			end = min(end, areas[i+1].start)
		}
		if end <= a.start {
			continue
		}
		out = append(out, Marker{Addr: a.start, Name: a.r.String(), Region: a.r})
		if i+1 == len(areas) || end < areas[i+1].start {
			out = append(out, Marker{Addr: end, Name: RegionHole.String(), Region: RegionHole})
		}
	}
	return out
}
