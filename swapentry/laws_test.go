package swapentry

import (
	"errors"
	"math/bits"
	"testing"

	"ptemu/arch/x86"
)

// layouts returns every kernel with both settings of CONFIG_DEVICE_PRIVATE, both depths, with and without L1TF.
func layouts(t testing.TB) map[string]*Layout {
	all := map[string]*Layout{}
	for _, k := range kernels {
		for _, levels := range []int{4, 5} {
			l := layoutOf(t, k, levels)
			name := k + "/" + l.ABI().Paging().Root().String()
			all[name] = l
			p := l.ABI().Paging()
			p.L1TF, p.CacheBits = true, 44
			all[name+"/l1tf"] = NewLayout(x86.MustABI(l.ABI().Kernel(), p))
		}
	}
	return all
}

// values are raw values that lie close to where the decoder decides: every type, offsets at the edges of every
// field with each of the nine low bits, and a few offsets with every subset of them.
func values(f func(raw uint64)) {
	edges := []uint64{0, 1, 2, 4, 7, 8, 0x12345, 0x40000, 1<<50 - 1}
	for shift := 33; shift < 50; shift++ {
		edges = append(edges, 1<<shift, 1<<shift|0x200)
	}
	for typ := uint8(0); typ < 32; typ++ {
		for _, o := range edges {
			raw := uint64(MkSwp(typ, o).PTE())
			f(raw)
			for low := 0; low < 9; low++ {
				f(raw | 1<<low)
			}
		}
		for _, o := range []uint64{1, 3, 0x40000} {
			for low := uint64(0); low < 1<<9; low++ {
				f(uint64(MkSwp(typ, o).PTE()) | low)
			}
		}
	}
	for low := uint64(0); low < 1<<9; low++ {
		f(low)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, l := range layouts(t) {
		failures := 0
		values(func(raw uint64) {
			for level := pte; level <= x86.LevelPGD; level++ {
				if problem := checkLaws(l, level, raw); problem != "" && failures < 10 {
					failures++
					t.Errorf("%s: %s 0x%016x: %s", name, level, raw, problem)
				}
			}
		})
	}
}

// TestDecodeKinds: what tells a value without swap form from one with it, level by level.
func TestDecodeKinds(t *testing.T) {
	const swapped = 0x07ffffffffdb9600
	l := layoutOf(t, "7.2", 4)
	for _, c := range []struct {
		raw                uint64
		pte, pmd, pud, p4d Kind
	}{
		{0, KindNone, KindNone, KindNone, KindNone},
		{0x60, KindNone, KindNone, KindNone, KindNone},
		{0x61, KindPresent, KindPresent, KindPresent, KindPresent},
		{swapped, KindSwap, KindSwap, KindSwap, KindUnknown},
		{swapped | 0x80, KindSwap, KindPresent, KindPresent, KindUnknown},
		{swapped | 0x100, KindPresent, KindPresent, KindPresent, KindUnknown},
		{swapped | 1, KindPresent, KindPresent, KindPresent, KindPresent},
	} {
		got := [...]Kind{l.Decode(pte, c.raw).Kind, l.Decode(pmd, c.raw).Kind, l.Decode(pud, c.raw).Kind, l.Decode(x86.LevelP4D, c.raw).Kind}
		if want := [...]Kind{c.pte, c.pmd, c.pud, c.p4d}; got != want {
			t.Errorf("%#x: %v, want %v", c.raw, got, want)
		}
		if got := l.Decode(x86.LevelPGD, c.raw).Kind; got != c.p4d {
			t.Errorf("%#x: pgd %v, want %v", c.raw, got, c.p4d)
		}
	}
}

// checkLaws returns what is wrong with l's treatment of raw, "" if nothing.
func checkLaws(l *Layout, level x86.Level, raw uint64) string {
	e := l.Decode(level, raw)
	if back, err := l.Encode(e); err != nil || back != raw {
		return "Encode(Decode) differs"
	}
	err := l.Check(level, raw)
	form := e.Kind >= KindSwap && e.Kind <= KindSwapinError
	if form && err == nil && e.Stray&^x86.PageKnlErratumMask != 0 {
		return "legal, but with stray bits"
	}
	if !form && e.Stray != raw {
		return "without swap form, but decoded"
	}
	switch level {
	case pte:
		return checkPTE(l, x86.PTE(raw), &e)
	case pmd:
		return checkPMD(l, x86.PMD(raw), &e)
	}
	return ""
}

// checkPTE holds the decoder against the kernel's helpers.
func checkPTE(l *Layout, p x86.PTE, e *Entry) string {
	switch {
	case (e.Kind == KindNone) != p.None(), (e.Kind == KindPresent) != p.Present():
		return "none or present"
	case !SwapPTE(p):
		return ""
	}
	return checkSwp(l, l.FromPTE(p), e)
}

func checkPMD(l *Layout, p x86.PMD, e *Entry) string {
	switch {
	case (e.Kind == KindNone) != p.None(), (e.Kind == KindPresent) != p.Present():
		return "none or present"
	case !SwapPMD(p):
		return ""
	case l.PMDMigration(p) != (e.Kind == KindMigration):
		return "pmd migration"
	case e.Exclusive:
		return "exclusive pmd"
	}
	return checkSwp(l, l.FromPMD(p), e)
}

func checkSwp(l *Layout, s Swp, e *Entry) string {
	quirk := s.None(l) // 7.2 takes slot 0 of device 0 for nothing
	switch {
	case s.Type() != e.Type || s.Offset() != e.Offset:
		return "type or offset"
	case s.Swap(l) != (e.Kind == KindSwap && !quirk):
		return "swap"
	case s.Migration(l) != (e.Kind == KindMigration):
		return "migration"
	case s.DevicePrivate(l) != (e.Kind == KindDevicePrivate):
		return "device-private"
	case s.DeviceExclusive(l) != (e.Kind == KindDeviceExclusive):
		return "device-exclusive"
	case s.HWPoison(l) != (e.Kind == KindHWPoison):
		return "hwpoison"
	case s.PTEMarker(l) != (e.Kind == KindMarker):
		return "marker"
	case s.SwapinError(l) != (e.Kind == KindSwapinError):
		return "swapin-error"
	case s.HasPFN(l) != e.Kind.HasPFN():
		return "has pfn"
	case e.Kind.HasPFN() && s.PFN(l) != e.PFN:
		return "pfn"
	case s.WritableMigration(l) != (e.Kind == KindMigration && e.Access == AccessWrite):
		return "writable migration"
	case s.ReadableExclusiveMigration(l) != (e.Kind == KindMigration && e.Access == AccessReadExclusive):
		return "exclusive migration"
	case e.Write != (s.WritableDevicePrivate(l) || s.WritableDeviceExclusive(l)):
		return "writable device"
	case s.GuardMarker(l) != (e.Marker&MarkerGuard != 0), s.PoisonMarker(l) != (e.Marker&MarkerPoisoned != 0),
		s.UffdWPMarker(l) != (e.Marker&MarkerUffdWP != 0):
		return "marker bits"
	}
	return ""
}

// TestEncodeErrors: what no value says is refused, with the reason.
func TestEncodeErrors(t *testing.T) {
	for _, c := range []struct {
		kernel string
		entry  Entry
		want   error
	}{
		{"7.2", Entry{Kind: KindDevicePrivate, Level: pte, PFN: 1}, ErrKind},
		{"7.2P", Entry{Kind: KindDeviceExclusive, Level: pte, PFN: 1}, ErrKind}, // 7.2 has writable ones only
		{"7.2", Entry{Kind: KindDeviceExclusive, Level: pte, PFN: 1, Write: true}, ErrKind},
		{"7.2", Entry{Kind: KindDevicePrivate, Level: pte, PFN: 1, Write: true}, ErrKind},
		{"6.12", Entry{Kind: KindSwapinError, Level: pte, Offset: 1}, ErrKind},
		{"6.12", Entry{Kind: KindSwap, Level: pte, Type: 27, Offset: 1}, ErrKind},
		{"6.12", Entry{Kind: KindSwap, Level: x86.LevelP4D, Offset: 1}, ErrKind},
		{"6.12", Entry{Kind: KindSwap, Level: pte, Offset: 1 << 50}, ErrOffset},
		{"6.12", Entry{Kind: KindMigration, Level: pte, PFN: 1 << 34}, ErrOffset},
		{"6.12", Entry{Kind: KindMarker, Level: pte, Marker: MarkerGuard}, ErrMarker},
		{"6.12", Entry{Kind: KindSwap, Level: pte, Offset: 1, PFN: 3}, ErrFields},
		{"6.12", Entry{Kind: KindSwap, Level: pte, Offset: 1, Young: true}, ErrFields},
		{"6.12", Entry{Kind: KindMigration, Level: pmd, Exclusive: true}, ErrFields},
		{"6.12", Entry{Kind: KindMigration, Level: pte, Access: 9}, ErrFields},
		{"6.12", Entry{Kind: KindSwap, Level: pte, Offset: 1, Stray: 1}, ErrFields}, // would be present
		{"6.12", Entry{Kind: KindNone, Level: pte, Stray: 1}, ErrFields},
		{"6.12", Entry{Kind: KindUnknown, Level: pte}, ErrFields},
	} {
		raw, err := layoutOf(t, c.kernel, 4).Encode(c.entry)
		var typed *EntryError
		if !errors.Is(err, c.want) || !errors.As(err, &typed) || raw != 0 {
			t.Errorf("%s %+v: %#x, %v; want %v", c.kernel, c.entry, raw, err, c.want)
		}
	}
}

// TestCheck: one illegal thing at a time.
func TestCheck(t *testing.T) {
	const swapped = 0x07ffffffffdb9600 // type 0, offset 0x1234
	for _, c := range []struct {
		kernel string
		level  x86.Level
		raw    uint64
		want   error
	}{
		{"7.2", pte, 0, nil},
		{"7.2", pte, 0x60, nil},
		{"7.2", pte, 0x8000000012345867, nil},
		{"7.2", pte, swapped | 0x60, nil}, // old hardware
		{"7.2", pte, swapped | 1<<4, ErrReserved},
		{"7.2", pte, swapped | 1<<7, ErrReserved},
		{"7.2", pte, swapped | 1<<3, nil},
		{"7.2", pmd, swapped, ErrKind},
		{"7.2", pud, swapped, ErrKind},
		{"7.2", x86.LevelP4D, swapped, ErrKind},
		{"7.2", pte, 0x07fffffffffffe00, ErrOffset}, // slot 0
		{"7.2", pte, 0x0000000000000002, ErrOffset}, // an empty entry in which a bit flipped: the offset is all ones
		{"6.1", pte, 0x4000000000000000, ErrOffset},
		{"7.2", pte, 0x0000000000000100, ErrOffset}, // PROT_NONE, likewise
		{"7.2", pmd, 0x0000000000000080, ErrOffset}, // being changed, likewise
		{"6.1", pte, 0x000fffffedcba960, nil},       // PROT_NONE of frame 0x12345
		{"6.1", pmd, 0x000fffffbfe009e0, nil},       // of frame 0x40000
		{"6.1", pte, 0x0000000000000025, nil},       // present
		{"7.2", pte, 0xfffffffffffffe00, ErrMarker}, // empty
		{"7.2", pte, 0xffffffffffffee00, ErrMarker}, // bit 3
		{"7.2", pte, 0xfffffffffffff600, nil},       // guard
		{"7.2", pmd, 0xfffffffffffff600, ErrKind},
		{"7.2", pmd, 0xfffffffffffffc00, nil}, // uffd-wp in hugetlbfs
		{"6.12", pte, 0xfffffffffffff600, ErrMarker},
		{"6.12", pte, 0xfffffffffffffa00, nil}, // poisoned
		{"6.1", pte, 0xf7fffffffffffa00, ErrMarker},
		{"6.12", pte, 0xfffffffffffffc02, nil},     // uffd-wp marker, soft-dirty after mremap
		{"6.12", pte, 0xfffffffffffffc04, ErrFlag}, // uffd-wp twice
		{"6.12", pte, 0xfffffffffffffa04, nil},     // PAGEMAP_SCAN protects a poisoned page
		{"6.12", pte, 0xfffffffffffffc08, ErrFlag},
		{"6.1P", pte, 0xb7fffffffdb97408, ErrFlag}, // exclusive hwpoison
		{"6.1P", pmd, 0xcfffe7fff7fffe00, nil},
		{"6.1P", pmd, 0xcfffe7fff7fffe08, ErrReserved},
		{"6.1P", pmd, 0xcfffe7fffdb97400, ErrOffset}, // frame 0x12345
		{"6.1P", pte, 0xcfff67fffdb97400, ErrOffset}, // a bit above dirty
		{"6.1P", pmd, 0xd7fffffff7fffe00, ErrKind},   // device-private
		{"7.2P", pmd, 0xe7fffffff7fffe00, nil},
		{"7.2P", pud, 0xe7fffffff7fffe00, ErrKind},
		{"6.1", pte, 0xfffffffffdb97400, nil},       // swapin error
		{"6.1", pte, 0xfffff7fffdb97400, ErrOffset}, // of frame 0x400012345
		{"6.1", pud, 0xe7fffffffffffe00 | 2, nil},   // migration of 1 GiB
		{"6.1", pud, 0xe7fffffff7fffe00, nil},       // frame 0x40000
		{"6.1", pud, 0xe7fffffffffbfe00, ErrOffset}, // frame 0x200
	} {
		err := layoutOf(t, c.kernel, 4).Check(c.level, c.raw)
		var typed *EntryError
		if !errors.Is(err, c.want) || err != nil && !errors.As(err, &typed) {
			t.Errorf("%s %s 0x%016x: %v, want %v", c.kernel, c.level, c.raw, err, c.want)
		}
	}
}

// TestCheckWidth: a frame beyond the physical addresses of the machine, by whichever kind of entry.
func TestCheckWidth(t *testing.T) {
	p := x86.DefaultPaging(4)
	p.PhysBits = 40
	l := NewLayout(x86.MustABI(x86.Linux6_1(), p))
	const last, beyond = 1<<28 - 1, 1 << 28
	for _, c := range []struct {
		level x86.Level
		make  func(x86.PFN) uint64
	}{
		{pte, func(f x86.PFN) uint64 {
			return ^uint64(f.Phys())&l.abi.FrameMask(pte) | x86.PageProtnone | x86.PageAccessed
		}},
		{pte, func(f x86.PFN) uint64 { return uint64(l.MakeReadableMigrationEntry(f).PTE()) }},
		{pte, func(f x86.PFN) uint64 { return uint64(l.MakeHWPoisonEntry(f).PTE()) }},
		{pte, func(f x86.PFN) uint64 { return uint64(l.MakeSwapinErrorEntry(f).PTE()) }},
		{pmd, func(f x86.PFN) uint64 { return ^uint64((f&^511).Phys())&l.abi.FrameMask(pte)&^(1<<21-1) | x86.PagePSE }},
	} {
		if err := l.Check(c.level, c.make(last)); err != nil {
			t.Errorf("the last frame: %v", err)
		}
		if err := l.Check(c.level, c.make(beyond)); !errors.Is(err, ErrOffset) {
			t.Errorf("the one behind: %v", err)
		}
	}
}

// TestCheckL1TF: a slot beyond the limit of the machine.
func TestCheckL1TF(t *testing.T) {
	p := x86.DefaultPaging(4)
	p.L1TF, p.CacheBits = true, 44
	l := NewLayout(x86.MustABI(x86.Linux6_1(), p))
	if err := l.Check(pte, uint64(MkSwp(0, 1<<34-1).PTE())); err != nil {
		t.Error(err)
	}
	if err := l.Check(pte, uint64(MkSwp(0, 1<<34).PTE())); !errors.Is(err, ErrOffset) {
		t.Error(err)
	}
}

// TestFlagHelpers: moving the offset and comparing, which the vectors do not have.
func TestFlagHelpers(t *testing.T) {
	for _, name := range kernels {
		l := layoutOf(t, name, 4)
		const plain = x86.PTE(0x07ffffffffdb9600) // type 0, offset 0x1234
		for flags := x86.PTE(0); flags < 16; flags += 2 {
			p := plain | flags
			if !PTESameAsSwp(p, plain) || PTESameAsSwp(p, plain^1<<9) {
				t.Errorf("%s: %#x compares wrongly", name, uint64(p))
			}
			// Offset 0x1235 and 0x1233, the same low bits.
			if got := l.PTESwpMoveOffset(p, 1); got != 0x07ffffffffdb9400|flags {
				t.Errorf("%s: %#x one further is %#x", name, uint64(p), uint64(got))
			}
			if got := l.PTESwpMoveOffset(p, -1); got != 0x07ffffffffdb9800|flags {
				t.Errorf("%s: %#x one back is %#x", name, uint64(p), uint64(got))
			}
		}
	}
}

func TestNames(t *testing.T) {
	for m, want := range map[Marker]string{0: "", 1: "uffd-wp", 6: "poisoned|guard", 7: "uffd-wp|poisoned|guard"} {
		if m.String() != want || len(m.Names()) != bits.OnesCount64(uint64(m)) {
			t.Errorf("marker %d: %q", m, m)
		}
	}
	for k, want := range map[Kind]string{KindNone: "none", KindSwap: "swap", KindSwapinError: "swapin-error",
		KindUnknown: "unknown", 200: "unknown"} {
		if k.String() != want {
			t.Errorf("kind %d: %q, want %q", k, k, want)
		}
	}
	for a, want := range map[Access]string{AccessRead: "read", AccessReadExclusive: "read-exclusive", AccessWrite: "write"} {
		if a.String() != want {
			t.Errorf("access %d: %q, want %q", a, a, want)
		}
	}
}

// FuzzDecode holds the laws over any value, level and layout.
func FuzzDecode(f *testing.F) {
	var all []*Layout
	for _, name := range kernels {
		for _, levels := range []int{4, 5} {
			all = append(all, layoutOf(f, name, levels))
		}
	}
	for i, c := range worked {
		f.Add(c.raw, uint8(c.entry.Level), uint8(i))
	}
	f.Add(uint64(0), uint8(pte), uint8(0))
	f.Fuzz(func(t *testing.T, raw uint64, level, which uint8) {
		l := all[int(which)%len(all)]
		lv := pte + x86.Level(level%5)
		if problem := checkLaws(l, lv, raw); problem != "" {
			t.Fatalf("%s 0x%016x: %s", lv, raw, problem)
		}
		word := l.Pagemap(lv, raw, 0, PageFacts{})
		if p := word.Parts(); p.Present && p.Swapped {
			t.Fatalf("%s 0x%016x: both present and swapped: %s", lv, raw, word)
		}
	})
}
