package x86

import "testing"

// The values of this file were seen on running kernels: a private anonymous page, frame 0x12345, written once.
const (
	frame   PFN = 0x12345
	written PTE = 0x8000000012345867 // P RW USER A D SOFT_DIRTY NX
)

func abis(t testing.TB) map[string]*ABI {
	m := map[string]*ABI{}
	for _, k := range Kernels() {
		m[k.Release] = MustABI(k, DefaultPaging(4))
	}
	return m
}

func TestWorkedPTE(t *testing.T) {
	ro, none := ProtReadonly, ProtNone
	for _, c := range []struct {
		name string
		f    func(a *ABI) PTE
		want [3]PTE // 6.1, 6.12, 7.2
	}{
		{"pfn_pte readonly", func(a *ABI) PTE { return MkPTE(a, frame, ro) },
			[3]PTE{0x8000000012345025, 0x8000000012345025, 0x8000000012345025}},
		{"mkdirty mkwrite", func(a *ABI) PTE { return MkPTE(a, frame, ro).MkDirty(a).MkWrite(a) },
			[3]PTE{written, written, written}},
		{"modify to NONE", func(a *ABI) PTE { return written.Modify(a, none) },
			[3]PTE{0x000fffffedcba960, 0x040fffffedcba920, 0x040fffffedcba920}},
		{"and back to READONLY", func(a *ABI) PTE { return written.Modify(a, none).Modify(a, ro) },
			[3]PTE{0x8000000012345865, 0x8400000012345825, 0x8400000012345825}},
		{"then mkwrite", func(a *ABI) PTE { return written.Modify(a, none).Modify(a, ro).MkWrite(a) },
			[3]PTE{written, written, written}},
		{"NONE of frame 0", func(a *ABI) PTE { return MkPTE(a, 0, none) },
			[3]PTE{0x000ffffffffff120, 0x000ffffffffff120, 0x000ffffffffff120}},
		{"wrprotect", func(a *ABI) PTE { return written.WrProtect(a) },
			[3]PTE{0x8000000012345865, 0x8400000012345825, 0x8400000012345825}},
		{"mkclean", func(a *ABI) PTE { return written.WrProtect(a).MkClean(a) },
			[3]PTE{0x8000000012345825, 0x8000000012345825, 0x8000000012345825}},
		{"mkuffd_wp", func(a *ABI) PTE { return written.MkUffdWP(a) },
			[3]PTE{0x8000000012345c67, 0x8400000012345c25, 0x8400000012345c25}},
		{"mkdirty of readonly", func(a *ABI) PTE { return MkPTE(a, frame, ro).MkDirty(a) },
			[3]PTE{0x8000000012345865, 0x8400000012345825, 0x8400000012345825}},
		{"modify of uffd-wp to SHARED", func(a *ABI) PTE { return written.MkUffdWP(a).WrProtect(a).Modify(a, ProtShared) },
			[3]PTE{0x8000000012345c67, 0x8000000012345c67, 0x8000000012345c67}},
	} {
		for i, k := range Kernels() {
			a := MustABI(k, DefaultPaging(4))
			if got := c.f(a); got != c.want[i] {
				t.Errorf("%s on %s: got %#016x, want %#016x", c.name, k.Release, uint64(got), uint64(c.want[i]))
			}
		}
	}
}

func TestWorkedPMD(t *testing.T) {
	const huge PMD = 0x80000000400008e7
	for _, c := range []struct {
		name string
		f    func(a *ABI) PMD
		want [3]PMD
	}{
		{"mkinvalid", func(a *ABI) PMD { return huge.MkInvalid(a) },
			[3]PMD{0x800fffffbfe008e6, 0x800fffffbfe008e6, 0x800fffffbfe008e6}},
		{"modify to READONLY", func(a *ABI) PMD { return huge.Modify(a, ProtReadonly) },
			[3]PMD{0x80000000400008e5, 0x80000000400008a5, 0x84000000400008a5}},
		{"modify to NONE", func(a *ABI) PMD { return huge.Modify(a, ProtNone) },
			[3]PMD{0x000fffffbfe009e0, 0x000fffffbfe009a0, 0x040fffffbfe009a0}},
	} {
		for i, k := range Kernels() {
			a := MustABI(k, DefaultPaging(4))
			got := c.f(a)
			if got != c.want[i] {
				t.Errorf("%s on %s: got %#016x, want %#016x", c.name, k.Release, uint64(got), uint64(c.want[i]))
			}
			if got.PFN(a) != 0x40000 || !got.Present() {
				t.Errorf("%s on %s: frame %#x present %v, want frame 0x40000, present", c.name, k.Release, uint64(got.PFN(a)), got.Present())
			}
		}
	}
}

func TestVMGetPageProt(t *testing.T) {
	a := MustABI(Linux7_2(), DefaultPaging(4))
	if got := (VMRead | VMWrite | PagePkey(5)).PageProt(a); got != 0xa800000000000025 {
		t.Errorf("private read-write, key 5: got %#x, want 0xa800000000000025", uint64(got))
	}
	p := DefaultPaging(4)
	p.NX = false
	if got := (VMShared | VMWrite).PageProt(MustABI(Linux7_2(), p)); got != 0x27 {
		t.Errorf("shared write without NX: got %#x, want 0x27", uint64(got))
	}
	p = DefaultPaging(4)
	p.EncMask = 1 << 47
	if got := VMFlags(0).PageProt(MustABI(Linux7_2(), p)); got != 0x800000000120 {
		t.Errorf("no access with memory encryption: got %#x, want 0x800000000120", uint64(got))
	}
}

func TestNeedsFlush(t *testing.T) {
	for name, a := range abis(t) {
		wp := written.WrProtect(a)
		for _, c := range []struct {
			what     string
			old, new PTE
			want     bool
		}{
			{"write protection", written, wp, true},
			{"write permission", wp, wp.MkWrite(a), true},
			{"uffd-wp alone", wp, wp.MkUffdWP(a), false},
			{"soft-dirty alone", wp, wp.ClearSoftDirty(), false},
			{"losing A", wp, wp.MkOld(), false},
			{"losing D", written, written.MkClean(a), true},
			{"PROT_NONE", wp, wp.Modify(a, ProtNone), true},
			{"from PROT_NONE", wp.Modify(a, ProtNone), wp, false},
			{"another frame", wp, wp.AdvancePFN(1), true},
		} {
			if got := PTENeedsFlush(a, c.old, c.new); got != c.want {
				t.Errorf("%s, %s: got %v, want %v", name, c.what, got, c.want)
			}
		}
		huge := MkPMD(a, 0x40000, ProtReadonly).MkHuge()
		if !HugePMDNeedsFlush(a, huge, huge.MkOld()) {
			t.Errorf("%s: a huge page that loses A needs a flush", name)
		}
	}
}
