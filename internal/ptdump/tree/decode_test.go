package tree_test

import (
	"fmt"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// TestDecode decodes entries spelled as raw values; those of pages are the worked examples of the kernel's encodings.
func TestDecode(t *testing.T) {
	small := x86.DefaultPaging(4)
	small.PhysBits = 40
	noNX := x86.DefaultPaging(4)
	noNX.NX = false
	ordinary := x86.DefaultPaging(4)
	all := tree.Rights{R: true, W: true, X: true, U: true}
	for _, c := range []struct {
		name   string
		kernel x86.Kernel
		paging x86.Paging
		level  x86.Level
		raw    uint64
		kind   tree.Kind
		rights tree.Rights
		pfn    x86.PFN // with hasPFN
		hasPFN bool
	}{
		{"user data", x86.Linux7_2(), ordinary, x86.LevelPTE, 0x8000000012345867, tree.KindPresent, tree.Rights{R: true, W: true, U: true}, 0x12345, true},
		{"user text", x86.Linux7_2(), ordinary, x86.LevelPTE, 0x0000000012345025, tree.KindPresent, tree.Rights{R: true, X: true, U: true}, 0x12345, true},
		{"everything", x86.Linux7_2(), ordinary, x86.LevelPTE, 0x0000000012345027, tree.KindPresent, all, 0x12345, true},
		{"PROT_NONE, 6.1", x86.Linux6_1(), ordinary, x86.LevelPTE, 0x000fffffedcba960, tree.KindProtnone, tree.Rights{}, 0x12345, true},
		{"PROT_NONE, 6.12", x86.Linux6_12(), ordinary, x86.LevelPTE, 0x040fffffedcba920, tree.KindProtnone, tree.Rights{}, 0x12345, true},
		{"PROT_NONE of frame 0", x86.Linux6_12(), ordinary, x86.LevelPTE, 0x000ffffffffff120, tree.KindProtnone, tree.Rights{}, 0, true},
		{"2 MiB page", x86.Linux6_1(), ordinary, x86.LevelPMD, 0x80000000400008e7, tree.KindPresent, tree.Rights{R: true, W: true, U: true}, 0x40000, true},
		{"same, PAT set", x86.Linux6_1(), ordinary, x86.LevelPMD, 0x80000000400018e7, tree.KindPresent, tree.Rights{R: true, W: true, U: true}, 0x40000, true},
		{"same, invalidated", x86.Linux6_1(), ordinary, x86.LevelPMD, 0x800fffffbfe008e6, tree.KindPresent, tree.Rights{}, 0x40000, true},
		{"same, PROT_NONE", x86.Linux6_1(), ordinary, x86.LevelPMD, 0x000fffffbfe009e0, tree.KindProtnone, tree.Rights{}, 0x40000, true},
		{"1 GiB page", x86.Linux7_2(), ordinary, x86.LevelPUD, 0x80000000400001e3, tree.KindPresent, tree.Rights{R: true, W: true}, 0x40000, true},
		{"1 GiB PROT_NONE", x86.Linux7_2(), ordinary, x86.LevelPUD, 0x000fffffbffff1a0 &^ (1<<30 - 4096), tree.KindProtnone, tree.Rights{}, 0x40000, true},
		{"frame beyond the width", x86.Linux7_2(), small, x86.LevelPTE, 0x0000010000000025, tree.KindPresent, tree.Rights{}, 0x10000000, true},
		{"frame within it", x86.Linux7_2(), small, x86.LevelPTE, 0x0000008000000025, tree.KindPresent, tree.Rights{R: true, X: true, U: true}, 0x8000000, true},
		{"NX without EFER.NXE", x86.Linux7_2(), noNX, x86.LevelPTE, 0x8000000012345025, tree.KindPresent, tree.Rights{}, 0x12345, true},
		{"2 MiB page off its boundary", x86.Linux7_2(), ordinary, x86.LevelPMD, 0x00000000400060e7, tree.KindPresent, tree.Rights{}, 0x40000, true},
		{"swap", x86.Linux7_2(), ordinary, x86.LevelPTE, 0x07ffffffffdb960e, tree.KindSwap, tree.Rights{}, 0, false},
		{"migration, 6.1", x86.Linux6_1(), ordinary, x86.LevelPTE, 0xf7fffffffdb97400&^(0x1f<<59) | 27<<59, tree.KindMigration, tree.Rights{}, 0x12345, true},
		{"migration of 2 MiB, 7.2", x86.Linux7_2(), ordinary, x86.LevelPMD, 0xf7ffe7fff7fffe00, tree.KindMigration, tree.Rights{}, 0x40000, true},
		{"hwpoison", x86.Linux7_2(), ordinary, x86.LevelPTE, 27<<59 | 0x7fffffffdb97400, tree.KindHWPoison, tree.Rights{}, 0x12345, true},
		{"uffd-wp marker, 6.1", x86.Linux6_1(), ordinary, x86.LevelPTE, 0xf7fffffffffffc00, tree.KindMarker, tree.Rights{}, 0, false},
		{"guard marker", x86.Linux7_2(), ordinary, x86.LevelPTE, 0xfffffffffffff600, tree.KindMarker, tree.Rights{}, 0, false},
		{"swap-in error, 6.1", x86.Linux6_1(), ordinary, x86.LevelPTE, 0xfffffffffdb97400, tree.KindSwapinError, tree.Rights{}, 0x12345, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := pttree.New(0x100)
			root := m.Table()
			m.Map(root, 4, 0x40000000, c.level, c.raw, x86.PageTable)
			var got capturetest.Leaves
			if err := capturetest.TreeOf(m, root, c.kernel, c.paging).Walk(tree.Filter{}, &got); err != nil {
				t.Fatal(err)
			}
			if len(got.All) != 1 || got.Problems != nil {
				t.Fatalf("leaves %v, problems %v", got.All, got.Problems)
			}
			l := got.All[0]
			if l.Kind != c.kind || l.Rights != c.rights || l.PFN != c.pfn || l.HasPFN != c.hasPFN {
				t.Errorf("got %v %v pfn %#x %v; want %v %v pfn %#x %v", l.Kind, l.Rights, uint64(l.PFN), l.HasPFN,
					c.kind, c.rights, uint64(c.pfn), c.hasPFN)
			}
			if l.VA != 0x40000000 || l.Level != c.level || l.Raw != c.raw {
				t.Errorf("at %v %v %#x", l.VA, l.Level, l.Raw)
			}
			if inv := c.raw == 0x800fffffbfe008e6; l.Invalidated() != inv {
				t.Errorf("Invalidated is %v", !inv)
			}
		})
	}
}

// TestTakenOut: the kernel half has no swap forms. What is not present there names its page by the inverted frame, as
// set_memory_np() leaves it, and a page that can be seen twice proves which: the first two entries are of a guest whose own
// /proc says that process 152 has frame 0x6721 as secretmem, and of the freed text of a kernel with PTI.
func TestTakenOut(t *testing.T) {
	for _, c := range []struct {
		name  string
		level x86.Level
		raw   uint64
		kind  tree.Kind
		pfn   x86.PFN
		flags string
	}{
		{"secretmem", x86.LevelPTE, 0x800ffffff98de020, tree.KindUnknown, 0x6721, "[ACCESSED NX]"},
		{"freed text", x86.LevelPMD, 0x800ffffff71ff062, tree.KindUnknown, 0x8e00, "[RW ACCESSED DIRTY NX]"},
		{"written", x86.LevelPTE, 0x800ffffff98de062, tree.KindUnknown, 0x6721, "[RW ACCESSED DIRTY NX]"},
		{"frame 0 of the CPU entry area", x86.LevelPTE, 0x000ffffffffff120, tree.KindProtnone, 0, "[ACCESSED PROTNONE]"},
		{"what would be slot 0", x86.LevelPTE, 0x07fffffffffffe00, tree.KindUnknown, 0, "[SPECIAL UFFD_WP KERNEL_4K BIT52 BIT53 BIT54 BIT55 BIT56 BIT57 SAVED_DIRTY]"},
		{"what would be a marker", x86.LevelPTE, 0xfffffffffffff600, tree.KindUnknown, 0, ""},
		{"1 GiB", x86.LevelPUD, 0x800fffffbffff062, tree.KindUnknown, 0x40000, "[RW ACCESSED DIRTY NX]"},
	} {
		m := pttree.New(0x100)
		root := m.Table()
		at := x86.Virt(0xffff888040000000)
		m.Map(root, 4, at, c.level, c.raw, capturetest.KernelTable)
		s := capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4))
		var got capturetest.Leaves
		if err := s.Walk(tree.Filter{}, &got); err != nil || len(got.All) != 1 {
			t.Fatal(c.name, err, got.All)
		}
		l := got.All[0]
		if l.Kind != c.kind || l.PFN != c.pfn || !l.HasPFN || l.HasSwap() || !l.IsPage() || !l.NotPresent() || l.Invalid ||
			l.Rights != (tree.Rights{}) || l.Swap != (swapentry.Entry{}) {
			t.Errorf("%s: %+v", c.name, l)
		}
		if flags := fmt.Sprint(l.Kind.AppendFlags(s.ABI, nil, l.Level, l.Raw)); c.flags != "" && flags != c.flags {
			t.Errorf("%s: %s, want %s", c.name, flags, c.flags)
		}
		var stretches stretchList
		if err := s.Stretches(t.Context(), pgtable.All, &stretches); err != nil || len(stretches) != 1 || stretches[0].Kind != c.kind {
			t.Errorf("%s: stretches %+v, %v", c.name, stretches, err)
		}
	}
	// Neighbours that differ in the frame alone are one stretch.
	m := pttree.New(0x100)
	root := m.Table()
	for i, raw := range []uint64{0x800ffffff98de020, 0x800ffffff97de020, 0x800ffffff98dc062} {
		m.Map(root, 4, 0xffff888040000000+x86.Virt(i)*x86.PageSize, x86.LevelPTE, raw, capturetest.KernelTable)
	}
	var stretches stretchList
	err := capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4)).Stretches(t.Context(), pgtable.All, &stretches)
	if err != nil || len(stretches) != 2 || stretches[0].N != 2 || stretches[1].N != 1 {
		t.Errorf("stretches %+v, %v", stretches, err)
	}
	// Empty but for what old processors left is empty in both halves.
	m = pttree.New(0x100)
	root = m.Table()
	m.Map(root, 4, 0xffff888040000000, x86.LevelPTE, x86.PageAccessed|x86.PageDirty, capturetest.KernelTable)
	var got capturetest.Leaves
	if err := capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4)).Walk(tree.Filter{}, &got); err != nil || got.All != nil {
		t.Errorf("stray A and D: %v, %v", got.All, err)
	}
}

// stretchList is a StretchSink that keeps everything.
type stretchList []tree.Stretch

func (s *stretchList) Table(*pgtable.Table) bool { return true }
func (s *stretchList) Stretch(x *tree.Stretch)   { *s = append(*s, *x) }
func (s *stretchList) Problem(*pgtable.Problem)  {}

// TestRightsOverAllLevels: a right is there if no level takes it away.
func TestRightsOverAllLevels(t *testing.T) {
	for above := range 8 {
		for own := range 8 {
			a := pgtable.Access{W: above&1 != 0, U: above&2 != 0, X: above&4 != 0}
			raw := uint64(0x12345001)
			if own&1 != 0 {
				raw |= x86.PageRW
			}
			if own&2 != 0 {
				raw |= x86.PageUser
			}
			if own&4 == 0 {
				raw |= x86.PageNX
			}
			l := tree.Leaf{Level: x86.LevelPTE, Raw: raw}
			d := tree.Decoder{ABI: capturetest.ABI, Layout: swapentry.NewLayout(capturetest.ABI)}
			d.Decode(&l, a)
			both := above & own
			want := tree.Rights{R: true, W: both&1 != 0, U: both&2 != 0, X: both&4 != 0}
			if l.Rights != want {
				t.Errorf("above %+v, entry %#x: %v, want %v", a, raw, l.Rights, want)
			}
		}
	}
}

// TestMatchAndRange: the filter drops leaves, and its bounds keep tables from being read.
func TestMatchAndRange(t *testing.T) {
	m := pttree.New(0x100)
	root := m.Table()
	for va := x86.Virt(0); va < 8<<21; va += 1 << 20 {
		m.Map(root, 4, va, x86.LevelPTE, uint64(va)|0x1000025, x86.PageTable)
	}
	s := capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4))
	var got capturetest.Leaves
	odd := func(l *tree.Leaf) bool { return l.VA&(1<<20) != 0 }
	reads := 0
	m.OnRead = func(x86.PFN) { reads++ }
	if err := s.Walk(tree.Filter{First: 1 << 21, Last: 3<<21 - 1, Match: odd, MatchReadsVA: true}, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.All) != 2 || got.All[0].VA != 3<<20 || got.All[1].VA != 5<<20 || reads != 3+2 {
		t.Errorf("leaves %v, %d tables read", got.All, reads)
	}
}
