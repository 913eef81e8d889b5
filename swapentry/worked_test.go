package swapentry

import (
	"fmt"
	"testing"

	"ptemu/arch/x86"
)

// layoutOf returns the layout of a kernel, CONFIG_DEVICE_PRIVATE on if the name ends in "P".
func layoutOf(t testing.TB, name string, levels int) *Layout {
	t.Helper()
	private := name[len(name)-1] == 'P'
	if private {
		name = name[:len(name)-1]
	}
	k, err := x86.KernelNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	k.DevicePrivate = private
	return NewLayout(x86.MustABI(k, x86.DefaultPaging(levels)))
}

// kernels are the names that layoutOf takes.
var kernels = []string{"6.1", "6.1P", "6.12", "6.12P", "7.2", "7.2P"}

const pte, pmd, pud = x86.LevelPTE, x86.LevelPMD, x86.LevelPUD

// worked are entries of running kernels, with four levels unless five are said.
var worked = []struct {
	kernel  string
	levels  int
	swp     Swp
	raw     uint64
	entry   Entry // without Type and Offset, which swp has
	pagemap Pagemap
}{
	{"6.1P", 4, 0x1, 0x07fffffffffffc00, Entry{Kind: KindSwap, Level: pte}, 0x4000000000000020},
	{"7.2P", 4, 0x1234, 0x07ffffffffdb9600, Entry{Kind: KindSwap, Level: pte}, 0x4000000000024680},
	{"6.12", 4, 0x1234, 0x07ffffffffdb960e,
		Entry{Kind: KindSwap, Level: pte, SoftDirty: true, UffdWP: true, Exclusive: true}, 0x4280000000024680},
	{"6.12", 4, 0x0400000000000000, 0x0ffffffffffffe00, Entry{Kind: KindSwap, Level: pte}, 0x4000000000000001},
	{"6.1P", 4, 0x5c00000000012345, 0xbffffffffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345}, 0x40000000002468b7},
	{"6.1P", 4, 0x6000000400012345, 0xc7fff7fffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessReadExclusive, Young: true},
		0x40000000002468b8},
	{"6.1P", 4, 0x6400000c00012345, 0xcfffe7fffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessWrite, Young: true, Dirty: true},
		0x40000000002468b9},
	{"6.1P", 4, 0x6400000c00012345, 0xcfffe7fffdb97402,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessWrite, Young: true, Dirty: true,
			SoftDirty: true}, 0x40800000002468b9},
	{"6.1P", 4, 0x6000000c00012345, 0xc7ffe7fffdb97404,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessReadExclusive, Young: true, Dirty: true,
			UffdWP: true}, 0x42000000002468b8},
	{"6.12P", 4, 0x6000000000012345, 0xc7fffffffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345}, 0x40000000002468b8},
	{"6.12P", 4, 0x6800000c00012345, 0xd7ffe7fffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessWrite, Young: true, Dirty: true},
		0x40000000002468ba},
	{"6.12", 4, 0x7800000c00012345, 0xf7ffe7fffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessWrite, Young: true, Dirty: true},
		0x40000000002468be},
	{"7.2", 4, 0x7800000c00012345, 0xf7ffe7fffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessWrite, Young: true, Dirty: true},
		0x40000000002468be},
	{"7.2P", 4, 0x6c00000c00012345, 0xdfffe7fffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessWrite, Young: true, Dirty: true},
		0x40000000002468bb},
	{"6.12P", 5, 0x6800030000012345, 0xd7f9fffffdb97400,
		Entry{Kind: KindMigration, Level: pte, PFN: 0x12345, Access: AccessWrite, Young: true, Dirty: true},
		0x40000000002468ba},
	{"6.1P", 4, 0x5800000000012345, 0xb7fffffffdb97400,
		Entry{Kind: KindHWPoison, Level: pte, PFN: 0x12345}, 0x40000000002468b6},
	{"6.1P", 4, 0x7800000000000001, 0xf7fffffffffffc00,
		Entry{Kind: KindMarker, Level: pte, Marker: MarkerUffdWP}, 0x420000000000003e},
	{"6.12P", 4, 0x7c00000000000001, 0xfffffffffffffc00,
		Entry{Kind: KindMarker, Level: pte, Marker: MarkerUffdWP}, 0x420000000000003f},
	{"7.2", 4, 0x7c00000000000002, 0xfffffffffffffa00,
		Entry{Kind: KindMarker, Level: pte, Marker: MarkerPoisoned}, 0x400000000000005f},
	{"6.12", 4, 0x7c00000000000003, 0xfffffffffffff800,
		Entry{Kind: KindMarker, Level: pte, Marker: MarkerUffdWP | MarkerPoisoned}, 0x420000000000007f},
	{"7.2P", 4, 0x7c00000000000004, 0xfffffffffffff600,
		Entry{Kind: KindMarker, Level: pte, Marker: MarkerGuard}, 0x440000000000009f},
	{"6.1", 4, 0x7c00000000012345, 0xfffffffffdb97400,
		Entry{Kind: KindSwapinError, Level: pte}, 0x40000000002468bf},
	{"6.1P", 4, 0x6400000c00040000, 0xcfffe7fff7fffe00,
		Entry{Kind: KindMigration, Level: pmd, PFN: 0x40000, Access: AccessWrite, Young: true, Dirty: true},
		0x4000000000800019},
	{"7.2P", 4, 0x6c00000c00040000, 0xdfffe7fff7fffe00,
		Entry{Kind: KindMigration, Level: pmd, PFN: 0x40000, Access: AccessWrite, Young: true, Dirty: true},
		0x400000000080001b},
}

func TestWorked(t *testing.T) {
	for _, c := range worked {
		l := layoutOf(t, c.kernel, c.levels)
		name := fmt.Sprintf("%s %d levels %s %#x", c.kernel, c.levels, c.entry.Level, c.raw)
		want := c.entry
		want.Type, want.Offset = c.swp.Type(), c.swp.Offset()
		got := l.Decode(want.Level, c.raw)
		if got != want {
			t.Errorf("%s: Decode = %+v, want %+v", name, got, want)
		}
		toEncode := c.entry
		if c.entry.Kind == KindSwap || c.entry.Kind == KindSwapinError {
			toEncode = want
		}
		if raw, err := l.Encode(toEncode); err != nil || raw != c.raw {
			t.Errorf("%s: Encode = %#x, %v", name, raw, err)
		}
		header := want.Kind == KindSwap && want.Offset == 0 // can be encoded, but is never used
		if err := l.Check(want.Level, c.raw); (err != nil) != header {
			t.Errorf("%s: Check = %v", name, err)
		}
		if w := l.Pagemap(want.Level, c.raw, 0, PageFacts{}); w != c.pagemap {
			t.Errorf("%s: Pagemap = %#x, want %#x", name, uint64(w), uint64(c.pagemap))
		}
		flags := uint64(x86.PageSwpSoftDirty | x86.PageSwpUffdWP | x86.PageSwpExclusive)
		if p := c.swp.PTE(); uint64(p) != c.raw&^flags {
			t.Errorf("%s: PTE() = %#x", name, uint64(p))
		}
		if s := l.FromPTE(x86.PTE(c.raw)); s != c.swp {
			t.Errorf("%s: FromPTE = %#x, want %#x", name, uint64(s), uint64(c.swp))
		}
	}
}

func TestTypes(t *testing.T) {
	const no = NoType
	for name, want := range map[string]Types{
		"6.1P":  {22, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
		"6.1":   {26, 26, 27, 28, 29, no, no, no, no, 30, 31},
		"6.12P": {23, 23, 24, 25, 26, 27, 28, 29, 30, 31, no},
		"6.12":  {27, 27, 28, 29, 30, no, no, no, no, 31, no},
		"7.2P":  {24, 24, 25, 26, 27, 28, 29, 30, no, 31, no},
		"7.2":   {27, 27, 28, 29, 30, no, no, no, no, 31, no},
	} {
		if got := layoutOf(t, name, 4).Types(); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// TestL1TF: the limit follows the cache bits, and A and D need two bits above the frame number.
func TestL1TF(t *testing.T) {
	for _, c := range []struct {
		levels    int
		l1tf      bool
		cacheBits uint8
		size      uint64
		ad        bool
	}{
		{4, false, 0, 1 << 50, true},
		{5, false, 0, 1 << 50, true},
		{4, true, 44, 1 << 34, false},
		{4, true, 45, 1 << 35, false},
		{4, true, 46, 1 << 36, true},
		{5, true, 46, 1 << 36, false},
		{5, true, 51, 1 << 41, false},
		{5, true, 52, 1 << 42, true},
	} {
		p := x86.DefaultPaging(c.levels)
		p.L1TF, p.CacheBits = c.l1tf, c.cacheBits
		l := NewLayout(x86.MustABI(x86.Linux7_2(), p))
		if l.MaxSwapfileSize() != c.size || l.MigrationAD() != c.ad {
			t.Errorf("%+v: size %#x, A and D %v", c, l.MaxSwapfileSize(), l.MigrationAD())
		}
		s := l.MakeMigrationEntryDirty(l.MakeMigrationEntryYoung(l.MakeWritableMigrationEntry(0x12345)))
		e := l.Decode(pte, uint64(s.PTE()))
		if e.Young != c.ad || e.Dirty != c.ad || e.PFN != 0x12345 || e.Stray != 0 {
			t.Errorf("%+v: decoded %+v", c, e)
		}
	}
}
