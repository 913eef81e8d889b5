package linux

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// TestFakeKernels: what was built is found, with four and five levels, encrypted, without notes.
func TestFakeKernels(t *testing.T) {
	fake5 := fake{5, 0xff2c2fac40000000, 0xff61db26c0000000, 0xff93db26c0000000, 0xffffffffa6e00000, 0x2000000, 0}
	encrypted := fake4
	encrypted.enc = 1 << 47
	for _, k := range []fake{fake4, fake5, encrypted} {
		b := k.make()
		s, err := Detect(b, k.info(), nil, Options{})
		if err != nil || len(s.Warnings) > 0 {
			t.Fatalf("%v, warnings %q", err, s.Warnings)
		}
		k.check(t, s.Layout)
		if r, err := s.Root(-1); err != nil || r.Kernel != b.root.Phys() || s.ABI.Paging().EncMask != k.enc {
			t.Errorf("root %+v, %v; paging %+v", r, err, s.ABI.Paging())
		}
		cpu := CPU{CR0: 0x80050033, CR3: uint64(b.root.Phys()) | k.enc, CR4: 0x6f0 | uint64(k.levels-4)<<12}
		s, err = Detect(b, nil, []CPU{cpu}, Options{EncMask: &k.enc})
		if err != nil || s.InitMM == nil || s.InitMM.Kernel != b.root.Phys() || s.CPUs[0].Kernel != b.root.Phys() {
			t.Fatalf("from CR3: %v, %+v", err, s)
		}
		k.check(t, s.Layout)
		if k.enc == 0 {
			s, err = Detect(b, nil, nil, Options{})
			if err != nil || s.InitMM == nil || s.InitMM.Kernel != b.root.Phys() {
				t.Fatalf("from RAM: %v, %+v", err, s)
			}
			k.check(t, s.Layout)
		}
	}
}

// TestScanRejects changes one thing at a time that makes a table no root of a running kernel.
func TestScanRejects(t *testing.T) {
	found := func(b *tables) int { return len(Scan(b, 0, true, 0).Roots) }
	if n := found(fake4.make()); n != 1 {
		t.Fatalf("%d roots in a good RAM", n)
	}
	for name, spoil := range map[string]func(*tables){
		"no image":              func(b *tables) { b.set(b.root, 511, 0) },
		"no direct map":         func(b *tables) { b.set(b.root, fake4.direct.Index(x86.LevelP4D), 0) },
		"no CPU entry area":     func(b *tables) { b.set(b.root, 508, 0) },
		"image from the start":  func(b *tables) { b.mapLeaf(startKernelMap, 0xc00000, x86.LevelPMD, rx) },
		"large page at the top": func(b *tables) { b.set(b.root, 511, b.get(b.root, 511)|psel) },
		"top entry NX":          func(b *tables) { b.set(b.root, 511, b.get(b.root, 511)|1<<63) },
		"top outside RAM":       func(b *tables) { b.set(b.root, 511, 1<<40|0x67) },
		"image elsewhere": func(b *tables) { // the direct map has other memory there
			b.mapLeaf(fake4.direct+x86.Virt(fake4.phys), 0x1000000, x86.LevelPMD, rw)
		},
	} {
		b := fake4.make()
		spoil(b)
		if n := found(b); n != 0 {
			t.Errorf("%s: %d roots found", name, n)
		}
	}
}

// TestRootsTogether: what tells a PTI pair from two tables side by side.
func TestRootsTogether(t *testing.T) {
	abi := fake4.abi()
	pair := func() *tables {
		b := fake4.make()
		user := b.root | 1
		b.mapLeaf(0x400000, 0x9000, x86.LevelPTE, 0x25)
		b.set(user, 0, b.get(b.root, 0))
		b.set(b.root, 0, b.get(b.root, 0)|1<<63)
		b.set(user, 508, b.get(b.root, 508))
		b.set(user, 511, 0x55000|0x67)
		return b
	}
	b := pair()
	for _, cr3 := range []uint64{uint64(b.root.Phys()), uint64(b.root.Phys()) | 0x1801} {
		r, err := FindRoots(b, abi, cr3)
		if err != nil || !r.PTI || r.Kernel != b.root.Phys() || r.User != b.root.Phys()+0x1000 {
			t.Errorf("CR3 %#x: %+v, %v", cr3, r, err)
		}
	}
	b = pair()
	delete(b.frames, b.root|1)
	user := uint64(b.root.Phys()) | 0x1801
	r, err := FindRoots(b, abi, user)
	if err != nil || r.PTI || !r.UserMissing || r.Kernel != b.root.Phys() || r.User != r.Kernel {
		t.Errorf("user root missing: %+v, %v", r, err)
	}
	for why, spoil := range map[string]func(*tables){
		"a user entry without NX": func(b *tables) { b.set(b.root, 0, b.get(b.root, 0)&^(1<<63)) },
		"no user entry":           func(b *tables) { b.set(b.root, 0, 0) },
		"no kernel image":         func(b *tables) { b.set(b.root, 511, 0) },
	} {
		b := pair()
		delete(b.frames, b.root|1)
		spoil(b)
		if r, err := FindRoots(b, abi, user); !errors.Is(err, physmem.ErrAbsent) {
			t.Errorf("user root missing, %s in the frame before it: %+v, %v", why, r, err)
		}
	}
	for why, spoil := range map[string]func(*tables){
		"the top entry":                    func(b *tables) { b.set(b.root|1, 511, 0) },
		"through one table":                func(b *tables) { b.set(b.root|1, 511, b.get(b.root, 511)) },
		"user entry 0":                     func(b *tables) { b.set(b.root|1, 0, 0x66000|0x67) },
		"user entry 3":                     func(b *tables) { b.set(b.root|1, 3, 0x66000|0x67) },
		"kernel entry 300 is in the upper": func(b *tables) { b.set(b.root|1, 300, 0x66000|0x67) },
		"lacks no kernel entry": func(b *tables) {
			for i := 256; i < 511; i++ {
				b.set(b.root|1, i, b.get(b.root, i))
			}
		},
	} {
		b := pair()
		spoil(b)
		r, err := FindRoots(b, abi, uint64(b.root.Phys()))
		if err != nil || r.PTI || r.Kernel != r.User || !strings.Contains(r.Why, why) {
			t.Errorf("%s: %+v, %v", why, r, err)
		}
	}
}

// TestKASAN fills the shadow's area, as KASAN does, and all but one entry of it.
func TestKASAN(t *testing.T) {
	k := fake4
	k.direct, k.vmalloc, k.vmemmap = 0xffff888000000000, 0xffffc90000000000, 0xffffea0000000000
	for _, full := range []bool{true, false} {
		b := k.make()
		for i := x86.Virt(0xffffec0000000000).Index(x86.LevelP4D); i < x86.Virt(0xfffffc0000000000).Index(x86.LevelP4D); i++ {
			if full || i != 490 {
				b.set(b.root, i, 0x77000|0x67)
			}
		}
		b.frame(0x77)
		s, err := Detect(b, k.info(), nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		k.check(t, s.Layout)
		names := ""
		for _, m := range KernelMarkers(s) {
			names += m.Name + ";"
		}
		if s.Layout.KASAN != full || strings.Contains(names, "Vmemmap;KASAN shadow;KASAN shadow end;CPU entry Area") != full {
			t.Errorf("full %v: KASAN %v, markers %s", full, s.Layout.KASAN, names)
		}
		if r := RegionAt(s.Markers(), 0xfffff00000000000).Region; (r == RegionKASAN) != full {
			t.Errorf("full %v: region %v", full, r)
		}
	}
}

// TestLayoutOddities: gigabytes with tables but no page, a direct map with a hole and with gigabyte pages.
func TestLayoutOddities(t *testing.T) {
	k := fake4
	b := k.make()
	empty := func(va x86.Virt) {
		b.mapLeaf(va, 0, x86.LevelPMD, 0)
		b.mapLeaf(va, 0, x86.LevelPMD, 0)
	}
	empty(k.direct + 1<<30)
	b.mapLeaf(k.direct+5<<30, 5<<30, x86.LevelPUD, rw)
	b.mapLeaf(k.vmalloc+0x3000, 0, x86.LevelPTE, 0) // all that the first gigabyte had
	b.mapLeaf(k.vmalloc+7<<30, 0x5000, x86.LevelPTE, rw)
	b.mapLeaf(k.direct-9<<30, 0x3000, x86.LevelPTE, rw)        // its base is on no gigabyte
	b.mapLeaf(k.direct-8<<30, 0, x86.LevelPTE, rw)             // linear from here,
	b.mapLeaf(k.direct-8<<30+0x5000, 0x3000, x86.LevelPTE, rw) // but not here
	l, warnings := FindLayout(b, k.abi(), b.root, nil)
	k.check(t, l)
	if l.DirectMapEnd != k.direct+6<<30 || len(warnings) > 0 || !l.NXSeen {
		t.Errorf("direct map ends at %v; warnings %q", l.DirectMapEnd, warnings)
	}
}

// TestFixmap: which mappings tell where the fixmap starts. The figures are those of the enum fixed_addresses.
func TestFixmap(t *testing.T) {
	const top = x86.Virt(0xffffffffff7ff000)
	for _, c := range []struct {
		name            string
		apic, ioapic    x86.Virt // slots, 0 for none
		vsyscall, found bool
		slots           x86.Virt
	}{
		{"nothing", 0, 0, false, false, 131},
		{"small kernel", 2, 3, false, true, 131},
		{"x2APIC", 0, 3, false, true, 131},
		{"distribution", 514, 515, false, true, 643},
		{"distribution, x2APIC", 0, 515, true, true, 643},
		{"vsyscall page only", 0, 0, true, false, 643},
		{"with OHCI", 515, 516, true, true, 644},
	} {
		b := fake4.make()
		if c.apic != 0 {
			b.mapLeaf(top-c.apic<<12, 0xfee00000, x86.LevelPTE, rw)
		}
		if c.ioapic != 0 {
			b.mapLeaf(top-c.ioapic<<12, 0xfec00000, x86.LevelPTE, rw)
		}
		if c.vsyscall {
			b.mapLeaf(0xffffffffff600000, 0x9000, x86.LevelPTE, 0x25)
		}
		l, _ := FindLayout(b, fake4.abi(), b.root, nil)
		if l.FixmapStart.Addr != top-c.slots<<12 || l.FixmapStart.Found != c.found {
			t.Errorf("%s: %+v, want %v", c.name, l.FixmapStart, top-c.slots<<12)
		}
	}
}

// TestImage puts a configuration and a banner into a kernel's read-only data, across frames.
func TestImage(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	fmt.Fprintln(w, "#\n# Linux/x86 6.12.5 Kernel Configuration\n#\nCONFIG_DEVICE_PRIVATE=y\n# CONFIG_EFI is not set\nCONFIG_MODIFY_LDT_SYSCALL=y")
	for i := range 3000 {
		fmt.Fprintf(w, "CONFIG_X%d=m\n", i*i)
	}
	w.Close()
	packed := append(append([]byte("IKCFG_ST"), z.Bytes()...), "IKCFG_ED"...)
	if z.Len() < 2*x86.PageSize {
		t.Fatalf("a configuration of %d bytes spans too few frames", z.Len())
	}
	build := func(at x86.Phys, data []byte) *tables {
		b := fake4.make()
		for pa := fake4.phys + 0x200000; pa < fake4.phys+0x400000; pa += x86.PageSize {
			b.frame(pa.PFN())
		}
		b.write(fake4.phys+0x200000+at, data)
		return b
	}
	detect := func(b *tables) *System {
		cr3 := uint64(b.root.Phys())
		s, err := Detect(b, nil, nil, Options{CR3: &cr3})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, at := range []x86.Phys{0, 0x1ffa, 0x1ff8, 0x5ff1} {
		b := build(at, packed)
		b.write(fake4.phys+0x300ff8, []byte("Linux version %s\x00Linux version 6.12.5-x (a@b) "))
		s := detect(b)
		if !s.ABI.Kernel().DevicePrivate || assumed(s, "CONFIG_DEVICE_PRIVATE") || s.Release != "6.12.5-x" {
			t.Errorf("at %v: kernel %+v, release %q", at, s.ABI.Kernel(), s.Release)
		}
		if !s.kernelDump.LDT || s.kernelDump.EFI || assumed(s, "marker EFI Runtime Services") {
			t.Errorf("at %v: %+v", at, s.kernelDump)
		}
	}
	for name, c := range map[string]struct {
		data             string
		private, certain bool
	}{
		"export":           {"\x00vmalloc_to_pfn\x00make_device_exclusive\x00", true, true},
		"older export":     {"\x00make_device_exclusive_range\x00", true, true},
		"no export of it":  {"\x00vmalloc_to_pfn\x00xmake_device_exclusive\x00", false, true},
		"no exports":       {"\x00nothing\x00", false, false},
		"damaged config":   {"IKCFG_ST\x1f\x8bgarbage IKCFG_ED", false, false},
		"config cut off":   {"IKCFG_ST\x1f\x8b", false, false},
		"config in plain":  {"CONFIG_DEVICE_PRIVATE=y", false, false},
		"config truncated": {string(packed[:len(packed)/2]) + "IKCFG_ED", false, false},
	} {
		s := detect(build(0xffc, []byte(c.data)))
		if s.ABI.Kernel().DevicePrivate != c.private || assumed(s, "CONFIG_DEVICE_PRIVATE") == c.certain {
			t.Errorf("%s: %v; assumptions %q", name, s.ABI.Kernel().DevicePrivate, s.Assumptions)
		}
	}
	b := build(0x1ff3, []byte("\x00make_device_"))
	b.write(fake4.phys+0x203000, []byte("exclusive\x00"))
	delete(b.frames, (fake4.phys + 0x202000).PFN())
	if s := detect(b); s.ABI.Kernel().DevicePrivate {
		t.Error("a name was put together over a missing frame")
	}
	b = build(0, []byte("\x00vmalloc_to_pfn\x00"))
	delete(b.frames, (fake4.phys + 0x3ff000).PFN())
	if s := detect(b); !assumed(s, "CONFIG_DEVICE_PRIVATE") {
		t.Error("a name that may be in a missing frame was taken for absent")
	}
}

// TestHostileTables: tables that lead everywhere and nowhere cost a bounded amount of work.
func TestHostileTables(t *testing.T) {
	loop := newRAM(64 << 20) // a table that is its own child at every level
	for i := range x86.EntriesPerTable {
		loop.set(0x10, i, 0x10000|0x67)
	}
	maze := newRAM(256 << 20) // tables full of distinct tables that hold nothing, down to the third level
	for i := range x86.EntriesPerTable {
		maze.set(0x10, i, uint64(0x1000+i)<<12|0x67)
		for j := range x86.EntriesPerTable {
			maze.set(x86.PFN(0x1000+i), j, uint64(0x2000+(i*31+j)%0xc000)<<12|0x67)
		}
	}
	for pfn := x86.PFN(0x2000); pfn < 0xe000; pfn++ {
		maze.frame(pfn)
	}
	sparse := newRAM(64 << 20) // one empty table below all slots: no read, many visits
	for i := range x86.EntriesPerTable {
		sparse.set(0x10, i, 0x11000|0x67)
		sparse.set(0x11, i, 0x12000|0x67)
		sparse.set(0x12, i, 0x13000|0x67)
	}
	sparse.frame(0x13)
	for name, ram := range map[string]*machineRAM{"loop": loop, "maze": maze, "sparse": sparse} {
		for _, levels := range []int{4, 5} {
			cr3 := uint64(0x10000)
			ram.reads = 0
			s, err := Detect(ram, nil, nil, Options{CR3: &cr3, Levels: levels})
			if err != nil || s.Layout == nil {
				t.Fatalf("%s: %v", name, err)
			}
			if ram.reads > 6*layoutBudget {
				t.Errorf("%s, %d levels: %d reads", name, levels, ram.reads)
			}
			if name == "maze" && !strings.Contains(strings.Join(s.Warnings, ";"), "incomplete") {
				t.Errorf("maze: warnings %q", s.Warnings)
			}
		}
	}
	forged := newRAM(64 << 20) // every frame could be a root
	for pfn := x86.PFN(0); pfn < forged.size.PFN(); pfn++ {
		forged.set(pfn, 511, uint64((pfn*7+1)%forged.size.PFN())<<12|0x67)
		forged.set(pfn, 510, uint64((pfn*5+3)%forged.size.PFN())<<12|0x67)
	}
	Scan(forged, 0, true, 0)
	if forged.reads > 2*scanBudget {
		t.Errorf("forged roots: %d reads", forged.reads)
	}
}
