package x86

import "testing"

func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		levels int
		v      Virt
		want   Virt // sign-extended
	}{
		{4, 0x00007fffffffffff, 0x00007fffffffffff},
		{4, 0x0000800000000000, 0xffff800000000000},
		{5, 0x0000800000000000, 0x0000800000000000},
		{5, 0x0100000000000000, 0xff00000000000000},
	} {
		p := DefaultPaging(c.levels)
		if got := p.SignExtend(c.v); got != c.want || p.Canonical(c.v) != (c.v == c.want) {
			t.Errorf("%d levels, %v: got %v, canonical %v; want %v", c.levels, c.v, got, p.Canonical(c.v), c.want)
		}
	}
	if got := DefaultPaging(5).KernelHalf(); got != 0xff00000000000000 {
		t.Errorf("kernel half of five levels: got %v", got)
	}
}

// TestAddrEnd: an end of 0 is the top of the address space, as in the kernel's loops.
func TestAddrEnd(t *testing.T) {
	p := DefaultPaging(4)
	for _, c := range []struct {
		v, end Virt
		l      Level
		want   Virt
	}{
		{0xffffffffffe00000, 0, LevelPMD, 0},
		{0xffffffffffc00000, 0, LevelPMD, 0xffffffffffe00000},
		{0xffffffffffe01000, 0xfffffffffffff000, LevelPMD, 0xfffffffffffff000},
		{0x1000, 0x400000, LevelPMD, 0x200000},
		{0, 1 << 40, LevelPGD, 1 << 39},
	} {
		if got := p.AddrEnd(c.v, c.end, c.l); got != c.want {
			t.Errorf("%v to %v, %v: got %v, want %v", c.v, c.end, c.l, got, c.want)
		}
	}
}

func TestPagingValidate(t *testing.T) {
	good := DefaultPaging(4)
	for name, p := range map[string]Paging{
		"default":     good,
		"smallest":    {Levels: 4, PhysBits: 32, EncMask: 1 << 32, L1TF: true, CacheBits: 36},
		"largest":     {Levels: 5, PhysBits: 52, EncMask: 1 << 51, L1TF: true, CacheBits: 52},
		"no L1TF, 99": {Levels: 4, PhysBits: 40, CacheBits: 99},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Paging){
		"three levels":          func(p *Paging) { p.Levels = 3 },
		"31 physical bits":      func(p *Paging) { p.PhysBits = 31 },
		"53 physical bits":      func(p *Paging) { p.PhysBits = 53 },
		"encryption in a flag":  func(p *Paging) { p.EncMask = 1 << 52 },
		"encryption bit 31":     func(p *Paging) { p.EncMask = 1 << 31 },
		"two encryption bits":   func(p *Paging) { p.EncMask = 1<<47 | 1<<46 },
		"L1TF with 53 bits":     func(p *Paging) { p.L1TF, p.CacheBits = true, 53 },
		"six levels":            func(p *Paging) { p.Levels = 6 },
		"L1TF without its size": func(p *Paging) { p.L1TF = true },
	} {
		p := good
		change(&p)
		if _, err := NewABI(Linux7_2(), p); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMemType(t *testing.T) {
	for _, c := range []struct {
		l     Level
		leaf  bool
		entry uint64
		want  string
	}{
		{LevelPTE, true, 0, "WB"},
		{LevelPTE, true, PagePWT, "WC"},
		{LevelPTE, true, PagePCD, "UC-"},
		{LevelPTE, true, PagePCD | PagePWT, "UC"},
		{LevelPTE, true, PagePAT | PagePWT, "WP"},
		{LevelPMD, true, PagePSE | PagePWT, "WC"},
		{LevelPMD, true, PagePSE | PagePATLarge | PagePCD | PagePWT, "WT"},
		{LevelPMD, false, PagePSE | PagePWT, "WC"},
	} {
		if got := PATLinux.MemType(c.l, c.leaf, c.entry).String(); got != c.want {
			t.Errorf("%v leaf %v %#x: got %s, want %s", c.l, c.leaf, c.entry, got, c.want)
		}
	}
}
