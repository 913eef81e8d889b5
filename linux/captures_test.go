package linux

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// TestCaptures holds what is detected against what the guests printed of themselves and what QEMU's walk saw.
func TestCaptures(t *testing.T) {
	for _, c := range committed {
		t.Run(c.dir, func(t *testing.T) {
			dir := filepath.Join(committedDir, c.dir)
			s, _ := detect(t, filepath.Join(dir, "tables.elf.zst"), Options{})
			if len(s.Warnings) > 0 {
				t.Errorf("warnings: %q", s.Warnings)
			}
			k, p := s.ABI.Kernel(), s.ABI.Paging()
			if k.Release != c.kernel || k.DevicePrivate != c.devicePrivate || p.Levels != c.levels || len(s.CPUs) != c.cpus {
				t.Errorf("kernel %s, device-private %v, %d levels, %d CPUs", k.Release, k.DevicePrivate, p.Levels, len(s.CPUs))
			}
			if !p.NX || p.EncMask != 0 || p.ShadowStack {
				t.Errorf("paging %+v", p)
			}
			checkSymbols(t, s, filepath.Join(dir, "guest.log.zst"))
			checkRegisters(t, s, filepath.Join(dir, "qemu-registers.txt"))
			checkLayout(t, s, filepath.Join(dir, "qemu-info-tlb.txt.zst"))
		})
	}
}

func checkSymbols(t *testing.T, s *System, log string) {
	t.Helper()
	addr, _ := symbols(t, log)
	checkAddresses(t, s, addr)
}

func checkAddresses(t *testing.T, s *System, addr map[string]uint64) {
	t.Helper()
	if got, want := s.KASLROffset, addr["_text"]-0xffffffff81000000; got != want || !s.HasKASLROffset {
		t.Errorf("KASLR offset %#x, _text gives %#x", got, want)
	}
	if got, want := uint64(s.Layout.TextFirst), addr["_text"]; got != want {
		t.Errorf("image starts at %#x, _text is %#x", got, want)
	}
	if !s.HasPhysBase || s.PhysBase != s.Layout.PhysBase {
		t.Errorf("phys_base %#x, the tables say %#x", uint64(s.PhysBase), uint64(s.Layout.PhysBase))
	}
	want := x86.Phys(addr["init_top_pgt"] - 0xffffffff80000000 + uint64(s.PhysBase))
	if s.InitMM == nil || s.InitMM.Kernel != want || s.InitMM.PTI {
		t.Errorf("init_mm %+v, init_top_pgt is at %v", s.InitMM, want)
	}
}

// checkRegisters compares the roots with the CR3 values in QEMU's "info registers -a".
func checkRegisters(t *testing.T, s *System, path string) {
	t.Helper()
	n := 0
	eachLine(t, path, func(line string) {
		_, cr3, ok := strings.Cut(line, "CR3=")
		if !ok {
			return
		}
		cr3, _, _ = strings.Cut(cr3, " ")
		if want := x86.Phys(hex(t, cr3)); n >= len(s.CPUs) || s.CPUs[n].Err != nil || s.CPUs[n].Kernel != want || s.CPUs[n].User != want {
			t.Errorf("CPU %d: QEMU says CR3 %v, got %+v", n, want, s.CPUs)
		}
		n++
	})
	if n != len(s.CPUs) {
		t.Errorf("%d CPUs, QEMU shows %d", len(s.CPUs), n)
	}
	if r, err := s.Root(-1); err != nil || r != s.CPUs[0].Roots {
		t.Errorf("Root(-1) = %+v, %v", r, err)
	}
}

// checkLayout holds the layout against every kernel mapping that QEMU saw.
func checkLayout(t *testing.T, s *System, tlb string) {
	t.Helper()
	l, leaves := s.Layout, kernelLeaves(t, tlb)
	end := x86.Virt(0)
	for _, leaf := range leaves {
		if leaf.va >= l.DirectMap.Addr && leaf.va < l.VMalloc.Addr {
			if leaf.va-l.DirectMap.Addr != x86.Virt(leaf.pa) {
				t.Fatalf("%v maps %v: not linear from %v on", leaf.va, leaf.pa, l.DirectMap.Addr)
			}
			end = leaf.va + x86.Virt(leaf.size)
		}
	}
	if end != l.DirectMapEnd || l.RAMEnd() != x86.Phys(end-l.DirectMap.Addr) {
		t.Errorf("direct map ends at %v, QEMU's last is at %v", l.DirectMapEnd, end)
	}
	const gigabyte = x86.Virt(1 << 30)
	if va := firstFrom(t, leaves, l.DirectMapEnd).va; va < l.VMalloc.Addr || va >= l.VMalloc.Addr+gigabyte {
		t.Errorf("vmalloc at %v, but the first mapping behind the direct map is at %v", l.VMalloc.Addr, va)
	}
	size := x86.Virt(32 << 40)
	if s.ABI.Paging().Levels == 5 {
		size = 12800 << 40
	}
	if va := firstFrom(t, leaves, l.VMalloc.Addr+size).va; va < l.VMemmap.Addr || va >= l.VMemmap.Addr+gigabyte {
		t.Errorf("vmemmap at %v, but the first mapping behind vmalloc is at %v", l.VMemmap.Addr, va)
	}
	if va := firstFrom(t, leaves, 0xffffffff80000000).va; va != l.TextFirst {
		t.Errorf("image at %v, QEMU's first mapping is at %v", l.TextFirst, va)
	}
	markers := s.Markers()
	used := map[Region]int{}
	for _, leaf := range leaves {
		r := RegionAt(markers, leaf.va).Region
		used[r]++
		if r == RegionHole || r == RegionUser || r == RegionGuard || r == RegionKASAN {
			t.Fatalf("%v is mapped, in region %v", leaf.va, r)
		}
	}
	for _, r := range []Region{RegionDirectMap, RegionVMalloc, RegionVMemmap, RegionCPUEntry, RegionText, RegionFixmap} {
		if used[r] == 0 {
			t.Errorf("no mapping in region %v", r)
		}
	}
	if l.ESPFix != (used[RegionESPFix] > 0) {
		t.Errorf("espfix %v, QEMU saw %d mappings there", l.ESPFix, used[RegionESPFix])
	}
}

// TestTablesAgreeWithVMCoreInfo finds the areas by the tables alone and compares with what VMCOREINFO says.
func TestTablesAgreeWithVMCoreInfo(t *testing.T) {
	told := 0
	for _, c := range committed {
		t.Run(c.dir, func(t *testing.T) {
			cap, cpus := openCapture(t, filepath.Join(committedDir, c.dir, "tables.elf.zst"))
			whole, err := ParseVMCoreInfo(cap.VMCoreInfo)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Detect(cap.Mem, nil, cpus, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Warnings) > 0 {
				t.Errorf("warnings: %q", s.Warnings)
			}
			if start, ok := whole.Number("VMALLOC_START"); ok {
				told++
				if !s.Layout.VMalloc.Found || s.Layout.VMalloc.Addr != x86.Virt(start) {
					t.Errorf("vmalloc %+v, VMCOREINFO says %#x", s.Layout.VMalloc, uint64(start))
				}
			}
			if addr, ok := whole.Symbol("vmemmap"); ok {
				told++
				if !s.Layout.VMemmap.Found || s.Layout.VMemmap.Addr != addr {
					t.Errorf("vmemmap %+v, VMCOREINFO says %v", s.Layout.VMemmap, addr)
				}
			}
			if base, _ := whole.Number("phys_base"); !s.HasPhysBase || int64(s.PhysBase) != base {
				t.Errorf("phys_base %d, VMCOREINFO says %d", int64(s.PhysBase), base)
			}
			if off, _ := whole.KernelOffset(); s.KASLROffset != off {
				t.Errorf("KASLR offset %#x, VMCOREINFO says %#x", s.KASLROffset, off)
			}
			if five, _ := whole.Number("pgtable_l5_enabled"); s.ABI.Paging().Levels != 4+int(five) {
				t.Errorf("%d levels, VMCOREINFO says l5=%d", s.ABI.Paging().Levels, five)
			}
		})
	}
	if told < 6 {
		t.Errorf("VMCOREINFO told of %d areas, 6 expected", told)
	}
}

// TestNoNotes opens the captures as if they were raw: the roots have to be found in RAM.
func TestNoNotes(t *testing.T) {
	for _, c := range committed {
		t.Run(c.dir, func(t *testing.T) {
			path := filepath.Join(committedDir, c.dir, "tables.elf.zst")
			want, cap := detect(t, path, Options{})
			s, err := Detect(cap.Mem, nil, nil, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if s.InitMM == nil || s.InitMM.Kernel != want.InitMM.Kernel {
				t.Fatalf("init_mm %+v, want %+v", s.InitMM, want.InitMM)
			}
			if s.ABI.Paging().Levels != c.levels {
				t.Errorf("%d levels", s.ABI.Paging().Levels)
			}
			if r, err := s.Root(-1); err != nil || r != *s.InitMM {
				t.Errorf("Root(-1) = %+v, %v", r, err)
			}
			if s.Layout.DirectMap != want.Layout.DirectMap || s.Layout.VMalloc.Addr != want.Layout.VMalloc.Addr {
				t.Errorf("layout %+v", s.Layout)
			}
			if s.Release != "" || s.ABI.Kernel().Release != "7.2" || !assumed(s, "kernel") {
				t.Errorf("release %q, kernel %q; assumptions %q", s.Release, s.ABI.Kernel().Release, s.Assumptions)
			}
			scan := Scan(cap.Mem, 9-c.levels, true, 0)
			if len(scan.Roots) > 0 || !scan.Complete {
				t.Errorf("with the wrong number of levels: %+v", scan)
			}
			if scan := Scan(cap.Mem, 0, true, 3); scan.Frames != 3 || scan.Complete {
				t.Errorf("a scan of three frames: %+v", scan)
			}
			other, err := FindInitMM(cap.Mem, want.ABI, want.CPUs[0].Kernel.PFN(), want.Layout)
			if err != nil || other != *want.InitMM {
				t.Errorf("FindInitMM: %+v, %v", other, err)
			}
		})
	}
}

func factOf(s *System, what string) string {
	for _, f := range s.Facts {
		if f.What == what && f.Why != "" {
			return f.Value
		}
	}
	return ""
}

func assumed(s *System, what string) bool {
	for _, a := range s.Assumptions {
		if a.What == what && a.Why != "" {
			return true
		}
	}
	return false
}

// TestChosenRoot gives nothing but a CR3, with address bits that are none.
func TestChosenRoot(t *testing.T) {
	for _, c := range committed {
		want, cap := detect(t, filepath.Join(committedDir, c.dir, "tables.elf.zst"), Options{})
		cr3 := uint64(want.CPUs[0].Kernel) | 0xfff | 3<<61
		s, err := Detect(cap.Mem, nil, nil, Options{CR3: &cr3})
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Root(-1)
		if err != nil || r.Kernel != want.CPUs[0].Kernel || s.ABI.Paging().Levels != c.levels {
			t.Errorf("%s: root %+v, %v; %d levels", c.dir, r, err, s.ABI.Paging().Levels)
		}
		if s.Layout.VMemmap.Addr != want.Layout.VMemmap.Addr {
			t.Errorf("%s: vmemmap %v", c.dir, s.Layout.VMemmap)
		}
	}
}

// TestKernelMarkers compares with the markers that a kernel printed itself: the same, in the same order, each at the
// same place.
func TestKernelMarkers(t *testing.T) {
	dir := filepath.Join(committedDir, "kernel-ptdump-7.2-la57")
	s, _ := detect(t, filepath.Join(dir, "tables.elf.zst"), Options{})
	for _, name := range []string{"kernel", "current_kernel", "current_user"} {
		var want, got []string
		marker := ""
		eachLine(t, filepath.Join(dir, "kernel-ptdump-"+name+".txt.zst"), func(line string) {
			if m, ok := strings.CutPrefix(line, "---[ "); ok {
				marker = strings.TrimSuffix(m, " ]---")
			} else if marker != "" {
				addr, _, _ := strings.Cut(line, "-")
				want = append(want, addr+" "+marker)
				marker = ""
			}
		})
		for _, m := range KernelMarkers(s) {
			if m.Name == "Kernel Space" { // printed at the first address looked at
				_, last := GuardHole(s.ABI.Paging())
				m.Addr = last + 1
			}
			got = append(got, fmt.Sprint(m.Addr, " ", m.Name))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: got\n%s\nthe kernel printed\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestKernelMarkersOfDebian: what its configuration adds. LDT, espfix and EFI are on in Debian's config files, and so
// are PARAVIRT_XXL and ACPI_APEI_GHES, which add three pages to the fixmap.
func TestKernelMarkersOfDebian(t *testing.T) {
	for _, c := range committed[:3] {
		s, _ := detect(t, filepath.Join(committedDir, c.dir, "tables.elf.zst"), Options{})
		got := map[string]Marker{}
		last := x86.Virt(0)
		for i, m := range KernelMarkers(s) {
			if i > 0 && m.Addr <= last {
				t.Errorf("%s: %s at %v is not above %v", c.dir, m.Name, m.Addr, last)
			}
			got[m.Name], last = m, m.Addr
		}
		if got["LDT remap"].Region != RegionLDT || got["ESPfix Area"].MaxLines != 16 || got["EFI Runtime Services"].Addr != 0xffffffef00000000 ||
			got["Fixmap Area"].Addr != 0xffffffffff579000 || len(got) != 13 {
			t.Errorf("%s: %+v", c.dir, got)
		}
	}
}

// TestFullDumps checks against the kernel's own variables, which a whole dump contains.
func TestFullDumps(t *testing.T) {
	for _, c := range committed {
		if c.levels == 5 {
			continue
		}
		t.Run(c.dir, func(t *testing.T) {
			path := sharedCapture(t, c.dir, "full.kdump-zlib")
			addr, _ := symbols(t, sharedCapture(t, c.dir, "guest.log.gz"))
			s, cap := detect(t, path, Options{})
			if len(s.Warnings) > 0 {
				t.Errorf("warnings: %q", s.Warnings)
			}
			for name, got := range map[string]x86.Virt{
				"page_offset_base": s.Layout.DirectMap.Addr,
				"vmalloc_base":     s.Layout.VMalloc.Addr,
				"vmemmap_base":     s.Layout.VMemmap.Addr,
				"phys_base":        x86.Virt(s.PhysBase),
			} {
				pa := x86.Phys(addr[name]-0xffffffff80000000) + s.PhysBase
				if want := x86.Virt(readWord(t, cap.Mem, pa)); got != want {
					t.Errorf("%s is %v, found %v", name, want, got)
				}
			}
			if s.ABI.Kernel().DevicePrivate != c.devicePrivate || assumed(s, "CONFIG_DEVICE_PRIVATE") {
				t.Errorf("device-private %v; assumptions %q", s.ABI.Kernel().DevicePrivate, s.Assumptions)
			}

			blind, err := Detect(cap.Mem, nil, nil, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if blind.Release != s.Release || blind.InitMM == nil || blind.InitMM.Kernel != s.InitMM.Kernel {
				t.Errorf("without notes: release %q, init_mm %+v", blind.Release, blind.InitMM)
			}
			scan := Scan(cap.Mem, 0, false, 0)
			if note := strings.TrimRight(string(cap.VMCoreInfo), "\x00"); string(scan.VMCoreInfo) != note {
				t.Errorf("VMCOREINFO in RAM at %v: %d bytes, the note has %d", scan.InfoPhys, len(scan.VMCoreInfo), len(note))
			}

			// Without VMCOREINFO, in the notes or in RAM: the banner names the release.
			_, cpus := openCapture(t, path)
			s, err = Detect(cap.Mem, nil, cpus, Options{})
			if err != nil || s.Release != blind.Release {
				t.Errorf("without VMCOREINFO: release %q, %v", s.Release, err)
			}
		})
	}
}

// TestOwnCaptures looks at captures made for this package (tables only, no VMCOREINFO), beside which lies what the
// guest's kallsyms and QEMU's monitor said: K symbol addresses, V values of variables.
func TestOwnCaptures(t *testing.T) {
	for _, c := range []struct {
		name   string
		levels int
		pti    bool
		text   x86.Virt
	}{
		{"pti-6.12-4level", 4, true, 0},
		{"pti-7.2-la57", 5, true, 0},
		{"nokaslr-6.1-4level", 4, false, 0xffffffff81000000},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, cap := detect(t, "testdata/"+c.name+".elf.zst", Options{})
			addr, value := symbols(t, "testdata/"+c.name+".txt")
			if len(s.Warnings) > 0 {
				t.Errorf("warnings: %q", s.Warnings)
			}
			for name, got := range map[string]x86.Virt{
				"page_offset_base": s.Layout.DirectMap.Addr,
				"vmalloc_base":     s.Layout.VMalloc.Addr,
				"vmemmap_base":     s.Layout.VMemmap.Addr,
				"phys_base":        x86.Virt(s.PhysBase),
			} {
				if uint64(got) != value[name] {
					t.Errorf("%s is %#x, found %v", name, value[name], got)
				}
			}
			if got := s.Layout.TextFirst; uint64(got) != addr["_text"] || c.text != 0 && got != c.text {
				t.Errorf("image at %v, _text is %#x", got, addr["_text"])
			}
			if got := factOf(s, "phys_base"); got != fmt.Sprint(int64(value["phys_base"])) {
				t.Errorf("fact phys_base %q", got)
			}
			if s.KASLROffset != addr["_text"]-0xffffffff81000000 {
				t.Errorf("KASLR offset %#x", s.KASLROffset)
			}
			if s.ABI.Paging().Levels != c.levels || len(s.CPUs) != 2 {
				t.Errorf("%d levels, %d CPUs", s.ABI.Paging().Levels, len(s.CPUs))
			}
			init, err := FindInitMM(cap.Mem, s.ABI, s.CPUs[0].Kernel.PFN(), s.Layout)
			if want := x86.Phys(addr["init_top_pgt"] - 0xffffffff80000000 + value["phys_base"]); err != nil || init.Kernel != want || init.PTI != c.pti {
				t.Errorf("init_mm %+v, %v; init_top_pgt is at %v", init, err, want)
			}
			odd := 0
			for _, cpu := range s.CPUs {
				loaded := x86.Phys(cpu.CR3 &^ 0xfff)
				switch {
				case cpu.Err != nil || cpu.PTI != c.pti || cpu.KernelMissing:
					t.Errorf("CPU %d: %+v", cpu.CPU, cpu)
				case !c.pti && (cpu.Kernel != loaded || cpu.User != loaded):
					t.Errorf("CPU %d, CR3 %#x: %+v", cpu.CPU, cpu.CR3, cpu)
				case c.pti && (cpu.Kernel != loaded&^0x1000 || cpu.User != loaded|0x1000):
					t.Errorf("CPU %d, CR3 %#x: %+v", cpu.CPU, cpu.CR3, cpu)
				}
				odd += int(cpu.CR3 >> 12 & 1)
			}
			if c.pti && odd == 0 {
				t.Error("no CPU was captured on its user root: the capture does not test what it should")
			}
			if c.pti {
				checkUserRootOnly(t, s, cap.Mem)
			}
			for _, m := range s.Markers() {
				if m.Region == RegionDirectMap && uint64(m.Addr) != value["page_offset_base"] {
					t.Errorf("marker %+v", m)
				}
			}
		})
	}
}

// checkUserRootOnly takes the kernel's root away.
func checkUserRootOnly(t *testing.T, s *System, mem physmem.Reader) {
	t.Helper()
	r, err := FindRoots(without{mem, s.CPUs[0].Kernel.PFN()}, s.ABI, uint64(s.CPUs[0].User))
	if err != nil || !r.PTI || !r.KernelMissing || r.User != s.CPUs[0].User {
		t.Errorf("user root alone: %+v, %v", r, err)
	}
	r, err = FindRoots(without{mem, s.CPUs[0].User.PFN()}, s.ABI, uint64(s.CPUs[0].Kernel))
	if err != nil || r.PTI || r.Kernel != s.CPUs[0].Kernel {
		t.Errorf("kernel root alone: %+v, %v", r, err)
	}
	if _, err := FindRoots(without{mem, s.CPUs[0].Kernel.PFN()}, s.ABI, uint64(s.CPUs[0].Kernel)); err == nil {
		t.Error("no error for a root that is not there")
	}
}
