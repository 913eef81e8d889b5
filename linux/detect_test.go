package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

func TestDetectWithoutAnything(t *testing.T) {
	empty := newRAM(16 << 20)
	s, err := Detect(empty, nil, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Root(-1); !errors.Is(err, ErrNoRoot) || !strings.Contains(err.Error(), "--cr3") {
		t.Errorf("root: %v", err)
	}
	if _, err := s.Root(0); err == nil {
		t.Error("there is a CPU 0")
	}
	if len(s.Markers()) < 10 || s.Layout.DirectMap.Found || !assumed(s, "levels") || len(s.Warnings) == 0 {
		t.Errorf("%+v", s)
	}
	names := map[string]bool{}
	for _, m := range KernelMarkers(s) {
		names[m.Name] = true
	}
	if !names["Low Kernel Mapping"] || !names["Fixmap Area"] {
		t.Errorf("kernel markers %v", names)
	}
}

// TestDetectProcessors: processors that are no help are said to be none.
func TestDetectProcessors(t *testing.T) {
	b := fake4.make()
	root := uint64(b.root.Phys())
	good := CPU{CR0: 0x80050033, CR3: root, CR4: 0x6f0, EFER: 0xd01, HasEFER: true}
	for _, c := range []struct {
		name string
		cpu  CPU
		msg  string
	}{
		{"paging off", CPU{CR0: 0x60000010, CR3: root}, "paging is off"},
		{"32-bit", CPU{CR0: 0x80050033, CR3: root}, "PAE clear"},
		{"PAE", CPU{CR0: 0x80050033, CR3: root, CR4: 0x20, HasEFER: true}, "LMA clear"},
		{"other levels", CPU{CR0: 0x80050033, CR3: root, CR4: 0x16f0}, "5 levels"},
		{"root not there", CPU{CR0: 0x80050033, CR3: 0x3ff0000, CR4: 0x6f0}, "not in capture"},
	} {
		s, err := Detect(b, nil, []CPU{good, c.cpu}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Root(1); err == nil || !strings.Contains(err.Error(), c.msg) || !strings.Contains(err.Error(), "CPU 1") {
			t.Errorf("%s: %v", c.name, err)
		}
		if r, err := s.Root(-1); err != nil || uint64(r.Kernel) != root {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
		if !strings.Contains(strings.Join(s.Warnings, ";"), c.msg) {
			t.Errorf("%s: warnings %q", c.name, s.Warnings)
		}
		if !s.ABI.Paging().NX || assumed(s, "NX") {
			t.Errorf("%s: NX is known from EFER", c.name)
		}
	}
	off := CPU{CR0: 0x60000010}
	s, err := Detect(b, fake4.info(), []CPU{off}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.Root(-1); err != nil || uint64(r.Kernel) != root {
		t.Errorf("with all CPUs off, init_mm's root: %+v, %v", r, err)
	}
	noNX := good
	noNX.EFER = 0x501
	if s, _ := Detect(b, nil, []CPU{noNX}, Options{}); s.ABI.Paging().NX {
		t.Error("EFER.NXE clear, NX set")
	}
	cet := good
	cet.CR4 |= 1 << 23
	if s, _ := Detect(b, fake4.info(), []CPU{cet}, Options{}); !s.ABI.Paging().ShadowStack || !assumed(s, "user shadow stacks") {
		t.Error("CR4.CET set, no shadow stacks")
	}
	if s, _ := Detect(b, fake4.info(), []CPU{cet}, Options{Kernel: "6.1"}); s.ABI.Paging().ShadowStack {
		t.Error("6.1 has shadow stacks")
	}
}

func TestDetectOptions(t *testing.T) {
	b := fake4.make()
	odd, yes, cr3 := uint64(0xfff), true, uint64(0x3ff0000)
	for name, o := range map[string]Options{
		"levels":    {Levels: 3},
		"kernel":    {Kernel: "six"},
		"phys bits": {PhysBits: 53},
		"enc mask":  {EncMask: &odd},
	} {
		if s, err := Detect(b, nil, nil, o); s != nil || !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if s, err := Detect(b, nil, nil, Options{CR3: &cr3}); s != nil || !errors.Is(err, physmem.ErrAbsent) {
		t.Errorf("CR3 outside the capture: %v, %v", s, err)
	}
	s, err := Detect(b, fake4.info(), nil, Options{Kernel: "6.12", DevicePrivate: &yes, PhysBits: 46})
	if err != nil {
		t.Fatal(err)
	}
	want := x86.Linux6_12()
	want.DevicePrivate = true
	if s.ABI.Kernel() != want || s.ABI.Paging().PhysBits != 46 || assumed(s, "physical address bits") || assumed(s, "CONFIG_DEVICE_PRIVATE") {
		t.Errorf("%+v, %+v", s.ABI.Kernel(), s.ABI.Paging())
	}
	s, err = Detect(b, fake4.info(), nil, Options{Kernel: "auto"})
	if err != nil || s.ABI.Kernel() != x86.Linux7_2() {
		t.Errorf("auto: %v", err)
	}
}

// TestDetectContradicted: what is asked for is done, and said to contradict the capture where it does.
func TestDetectContradicted(t *testing.T) {
	b := fake4.make()
	warns := func(o Options, word string) {
		t.Helper()
		s, err := Detect(b, fake4.info(), nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.Warnings, "; "); !strings.Contains(got, word) {
			t.Errorf("%+v: warnings %q, want one with %q", o, got, word)
		}
	}
	warns(Options{Kernel: "6.1"}, "as asked, but the capture is of")
	warns(Options{Levels: 5}, "5 levels were asked for")
	s, err := Detect(b, fake4.info(), nil, Options{L1TFCacheBits: 44})
	if err != nil {
		t.Fatal(err)
	}
	if p := s.ABI.Paging(); !p.L1TF || p.CacheBits != 44 || assumed(s, "L1TF") {
		t.Errorf("L1TF as asked: %+v", p)
	}
	if _, err := Detect(b, nil, nil, Options{L1TFCacheBits: 20}); !errors.Is(err, ErrOptions) {
		t.Errorf("20 cache bits: %v", err)
	}
}

// TestDetectDamagedInfo: what VMCOREINFO says wrongly is left out and warned about.
func TestDetectDamagedInfo(t *testing.T) {
	b := fake4.make()
	cpu := CPU{CR0: 0x80050033, CR3: uint64(b.root.Phys()), CR4: 0x6f0}
	info := string(fake4.info())
	for name, c := range map[string]struct{ info, warning string }{
		"unreadable":    {"SYMBOL(x)=?\n", "line 1"},
		"no release":    {"A=1\n", "lacks OSRELEASE"},
		"cut":           {info + "NUMBER(x)=1", "ends in the middle"},
		"wrong levels":  {strings.Replace(info, "l5_enabled)=0", "l5_enabled)=1", 1), "VMCOREINFO says 5"},
		"wrong mask":    {strings.Replace(info, "sme_mask)=0", "sme_mask)=4095", 1), "sme_mask"},
		"wrong phys":    {strings.Replace(info, "phys_base)=-", "phys_base)=-1", 1), "init_mm's root"},
		"wrong root":    {strings.Replace(info, "init_top_pgt)=ffffffff8f8", "init_top_pgt)=ffffffff8f9", 1), "init_mm's root"},
		"wrong image":   {strings.Replace(info, "SIZE)=1073741824", "SIZE)=5", 1), "KERNEL_IMAGE_SIZE"},
		"wrong vmalloc": {info + "NUMBER(VMALLOC_START)=0xffffb00000000000\n", "vmalloc area"},
		"wrong vmemmap": {info + "SYMBOL(vmemmap)=ffffe00000000000\n", "vmemmap"},
		"no vmalloc":    {info + "NUMBER(VMALLOC_START)=4096\n", "no place"},
		"no vmemmap":    {info + "SYMBOL(vmemmap)=fffffffff0000000\n", "no place"},
	} {
		s, err := Detect(b, []byte(c.info), []CPU{cpu}, Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.Contains(strings.Join(s.Warnings, "\n"), c.warning) {
			t.Errorf("%s: warnings %q", name, s.Warnings)
		}
		if r, err := s.Root(-1); err != nil || r.Kernel != b.root.Phys() || s.Layout.DirectMap.Addr != fake4.direct {
			t.Errorf("%s: root %+v, %v, layout %+v", name, r, err, s.Layout)
		}
	}
}

// TestDetectAnyKernel: the release that is asked for is read as one that the capture names is.
func TestDetectAnyKernel(t *testing.T) {
	for _, c := range []struct {
		asked, info, said string
		known             bool
	}{
		{"", "6.18.3", "6.12 with", true},
		{"6.18", "", "as asked; 6.12 with", true},
		{"6.12.107+deb13-amd64", "", "as asked; a known kernel", true},
		{"5.15", "", "as asked; 6.1 without", true},
		{"9.9", "", "newer", false},
		{"4.4", "", "predates", false},
		{"", "5.4.0", "predates", false},
		{"5.14.0-503.11.1.el9_5.x86_64", "", "Red Hat", false},
	} {
		info := strings.Replace(string(fake4.info()), "OSRELEASE=7.2.1\n", "OSRELEASE="+c.info+"\n", 1)
		s, err := Detect(fake4.make(), []byte(info), nil, Options{Kernel: c.asked})
		if err != nil {
			t.Fatal(err)
		}
		want, why, known := featuresOfRelease(c.asked + c.info)
		want.DevicePrivate = s.ABI.Kernel().DevicePrivate
		if s.ABI.Kernel() != want || known != c.known || !strings.Contains(why, strings.TrimPrefix(c.said, "as asked; ")) {
			t.Errorf("%s%s: %+v, %q", c.asked, c.info, s.ABI.Kernel(), why)
		}
		from := s.Facts
		if !c.known {
			from = s.Assumptions
		}
		if !slices.ContainsFunc(from, func(f Finding) bool { return f.What == "kernel" && strings.Contains(f.Why, c.said) }) {
			t.Errorf("%s%s: %v", c.asked, c.info, from)
		}
		for _, w := range s.Warnings { // the assumption says it
			if strings.Contains(w, "known") {
				t.Errorf("%s%s: %q", c.asked, c.info, w)
			}
		}
	}
}

// TestDetectNoMemoryFailure: a kernel without hwpoison entries is read as all others, and info says so.
func TestDetectNoMemoryFailure(t *testing.T) {
	for _, name := range []string{"PG_hwpoison", "PG_other"} {
		info := strings.Replace(string(fake4.info()), "PG_hwpoison", name, 1)
		s, err := Detect(fake4.make(), []byte(info), nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		said := slices.ContainsFunc(s.Facts, func(f Finding) bool { return f.What == "CONFIG_MEMORY_FAILURE" && f.Value == "n" })
		if said != (name == "PG_other") || len(s.Warnings) > 0 {
			t.Errorf("%s: %v, warnings %q", name, s.Facts, s.Warnings)
		}
	}
}

// FuzzDetect changes words of a kernel's tables and its VMCOREINFO: detection ends, with a bounded number of reads, and
// what it says of addresses is in order.
func FuzzDetect(f *testing.F) {
	f.Add([]byte{}, fake4.info(), true)
	f.Add([]byte{0x40, 0, 0xff, 0, 1, 2, 3, 4, 5, 6, 7, 8}, []byte("OSRELEASE=6.1\n"), false)
	f.Add(bytes.Repeat([]byte{0, 1, 0xff, 1, 0x67, 0, 0x10, 0, 0, 0, 0, 0}, 20), []byte(nil), true)
	f.Fuzz(func(t *testing.T, patch, info []byte, withCPU bool) {
		b := fake4.make()
		for ; len(patch) >= 12; patch = patch[12:] {
			pfn := x86.PFN(binary.LittleEndian.Uint16(patch)) % b.size.PFN()
			b.set(pfn, int(binary.LittleEndian.Uint16(patch[2:]))%512, binary.LittleEndian.Uint64(patch[4:]))
		}
		var cpus []CPU
		if withCPU {
			cpus = []CPU{{CR0: 0x80050033, CR3: uint64(b.root.Phys()), CR4: 0x6f0}}
		}
		s, err := Detect(b, info, cpus, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if b.reads > 8*layoutBudget+maxImageFrames+3*scanBudget {
			t.Errorf("%d reads", b.reads)
		}
		last := x86.Virt(0)
		for i, m := range s.Markers() {
			if i == 0 && m.Addr != 0 || i > 0 && m.Addr <= last {
				t.Errorf("marker %+v after %v", m, last)
			}
			last = m.Addr
		}
		KernelMarkers(s)
		if _, err := s.Root(-1); err != nil && !errors.Is(err, ErrNoRoot) {
			t.Errorf("root: %v", err)
		}
	})
}
