package thp

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// area returns an anonymous, writable area of kernel k, with CONFIG_DEVICE_PRIVATE, four levels.
func area(k x86.Kernel) *Area {
	k.DevicePrivate = true
	l := swapentry.NewLayout(x86.MustABI(k, x86.DefaultPaging(4)))
	return &Area{Layout: l, Prot: x86.ProtReadonly, Anon: true, Write: true, Zero: 0x333, HugeZero: 0x7e00}
}

const (
	numa    = x86.ChangeNUMA
	wp      = x86.ChangeUffdWP
	resolve = x86.ChangeUffdWPResolve
	try     = x86.ChangeTryWritable

	sd = x86.PageSwpSoftDirty
	u  = x86.PageSwpUffdWP

	leafRW = 0x80000000400008e7 // frame 0x40000: RW, A, D, soft-dirty
)

func all(e x86.PMD) [3]x86.PMD                { return [3]x86.PMD{e, e, e} }
func two(v61, later x86.PMD) [3]x86.PMD       { return [3]x86.PMD{v61, later, later} }
func ored(e [3]x86.PMD, b x86.PMD) [3]x86.PMD { return [3]x86.PMD{e[0] | b, e[1] | b, e[2] | b} }

// The migration entries of frame 0x40000, young and dirty; swap entries.
var (
	migWrite  = [3]x86.PMD{0xcfffe7fff7fffe00, 0xd7ffe7fff7fffe00, 0xdfffe7fff7fffe00}
	migReadEx = [3]x86.PMD{0xc7ffe7fff7fffe00, 0xcfffe7fff7fffe00, 0xd7ffe7fff7fffe00}
	migRead   = [3]x86.PMD{0xbfffe7fff7fffe00, 0xc7ffe7fff7fffe00, 0xcfffe7fff7fffe00}
	privWrite = [3]x86.PMD{0, 0, 0xe7fffffff7fffe00}
	privRead  = [3]x86.PMD{0, 0, 0xeffffffff7fffe00}
)

// TestChangedPMD is change_huge_pmd(). A want of 0: not in this kernel.
func TestChangedPMD(t *testing.T) {
	for _, c := range []struct {
		name string
		prot x86.Prot
		f    x86.ChangeFlags
		page Page
		old  [3]x86.PMD
		want [3]x86.PMD
		n    int
	}{
		{"write, anon", 0, 0, Page{Anon: true}, ored(migWrite, sd|u),
			[3]x86.PMD{migReadEx[0] | sd | u, migReadEx[1] | sd, migReadEx[2] | sd}, 1},
		{"write, file", 0, 0, Page{}, ored(migWrite, sd), ored(migRead, sd), 1},
		{"write, wp", 0, wp, Page{Anon: true}, migWrite, ored(migReadEx, u), 1},
		{"write, resolve", 0, resolve, Page{Anon: true}, ored(migWrite, u), migReadEx, 1},
		{"read, wp", 0, wp, Page{}, ored(migRead, sd), ored(migRead, sd|u), 1},
		{"read-exclusive, resolve", 0, resolve, Page{}, ored(migReadEx, sd|u), ored(migReadEx, sd), 1},
		{"read, plain", 0, 0, Page{}, ored(migRead, u), ored(migRead, u), 1},
		{"device-private write", 0, 0, Page{}, ored(privWrite, sd|u), ored(privRead, u), 1},
		{"device-private write, wp", 0, wp, Page{}, privWrite, ored(privRead, u), 1},

		{"RO", x86.ProtReadonly, 0, Page{}, all(leafRW),
			[3]x86.PMD{0x80000000400008e5, 0x80000000400008a5, 0x84000000400008a5}, Pages}, // 6.12 loses D
		{"RO, saved-dirty already", x86.ProtReadonly, 0, Page{}, two(0, 0x84000000400008a5), two(0, 0x84000000400008a5), Pages},
		{"NONE", x86.ProtNone, 0, Page{}, all(leafRW),
			[3]x86.PMD{0x000fffffbfe009e0, 0x000fffffbfe009a0, 0x040fffffbfe009a0}, Pages},
		{"NUMA", x86.ProtNone, numa, Page{}, all(leafRW),
			[3]x86.PMD{0x000fffffbfe009e2, 0x000fffffbfe009a0, 0x040fffffbfe009a0}, Pages},
		{"NUMA, hinted already", x86.ProtNone, numa, Page{}, all(0x000fffffbfe009a0), all(0x000fffffbfe009a0), 1},
		{"NUMA, huge zero", x86.ProtNone, numa, Page{}, all(0x8000000007e000a5), all(0x8000000007e000a5), 1},
		{"uffd-wp", x86.ProtReadonly, wp, Page{}, all(leafRW),
			[3]x86.PMD{0x8000000040000ce5, 0x8000000040000ca5, 0x8400000040000ca5}, Pages},
		{"resolve", x86.ProtReadonly, resolve, Page{}, two(0x8000000040000ce5, 0x8400000040000ca5),
			two(0x80000000400008e5, 0x84000000400008a5), Pages},
		{"RW, exclusive", x86.ProtReadonly, try, Page{Anon: true, Exclusive: true}, two(0x80000000400008e5, 0x84000000400008a5),
			two(0x80000000400008e5, leafRW), Pages}, // 6.1 never upgrades
		{"RW, clean and exclusive", x86.ProtReadonly, try, Page{Anon: true, Exclusive: true}, two(0, 0x80000000400008a5),
			two(0, 0x80000000400008a7), Pages},
		{"RW, not exclusive", x86.ProtReadonly, try, Page{Anon: true}, two(0x80000000400008e5, 0x84000000400008a5),
			two(0x80000000400008e5, 0x84000000400008a5), Pages},
		{"RW, huge zero", x86.ProtReadonly, try, Page{Anon: true, Exclusive: true}, all(0x8000000007e000a5), all(0x8000000007e000a5), Pages},
		{"RW, shared and dirty", x86.ProtReadonly, try | x86.ChangeShared, Page{}, two(0, 0x84000000400008a5), two(0, leafRW), Pages},
		{"RW, shared and clean", x86.ProtReadonly, try | x86.ChangeShared, Page{Anon: true, Exclusive: true},
			two(0, 0x80000000400008a5), two(0, 0x80000000400008a5), Pages},
		{"RW, tracked and not soft-dirty", x86.ProtReadonly, try | x86.ChangeSoftDirtyTracked, Page{Anon: true, Exclusive: true},
			two(0, 0x84000000400000a5), two(0, 0x84000000400000a5), Pages},
	} {
		for n, k := range x86.Kernels() {
			if c.want[n]&^(sd|u) == 0 {
				continue
			}
			got, count := area(k).ChangedPMD(c.old[n], ChangeArgs{
				Prot: c.prot, Flags: c.f, Anon: c.page.Anon,
				Exclusive: func(pfn x86.PFN) bool { return (pfn == 0x40000 || pfn == 0x7e00) && c.page.Exclusive },
			})
			if got != c.want[n] || count != c.n {
				t.Errorf("%s, %s: %#016x, %d; want %#016x, %d", k.Release, c.name, uint64(got), count, uint64(c.want[n]), c.n)
			}
		}
	}
}

// TestSplitEntries is __split_huge_pmd_locked(). The values are the first and the last PTE.
func TestSplitEntries(t *testing.T) {
	type ends [2]x86.PTE
	each := func(e x86.PTE) [3]ends {
		last := e.AdvancePFN(511)
		return [3]ends{{e, last}, {e, last}, {e, last}}
	}
	later := func(v61 x86.PTE, e x86.PTE) [3]ends {
		x := each(e)
		x[0] = ends{v61, v61.AdvancePFN(511)}
		return x
	}
	swaps := func(e [3]x86.PMD, or x86.PTE) (x [3]ends) {
		for i := range e {
			if e[i] != 0 { // the offset is inverted, and begins at bit 9
				x[i] = ends{x86.PTE(e[i]) | or, x86.PTE(e[i]) - 511<<9 | or}
			}
		}
		return x
	}
	anon, excl := Page{Anon: true}, Page{Anon: true, Exclusive: true}
	for _, c := range []struct {
		name   string
		old    [3]x86.PMD
		page   Page
		noVM   bool // area without VM_WRITE
		freeze bool
		want   [3]ends
		kind   SplitKind
		excl   bool
	}{
		{"RW dirty", all(leafRW), excl, false, false, later(0x8000000040000827, 0x8000000040000867), SplitPages, true},
		{"RW clean, old", all(0x8000000040000087), anon, false, false, each(0x8000000040000007), SplitPages, false},
		{"RW dirty, not soft-dirty", all(0x80000000400000e7), anon, false, false, later(0x8000000040000027, 0x8000000040000867), SplitPages, false},
		{"RO dirty", two(0x80000000400008e5, 0x84000000400008a5), anon, false, false, later(0x8000000040000825, 0x8400000040000825), SplitPages, false},
		{"RW, area not writable", all(leafRW), anon, true, false, later(0x8000000040000825, 0x8000000040000867), SplitPages, false},
		{"uffd-wp", two(0x8000000040000ce5, 0x8400000040000ca5), anon, false, false, later(0x8000000040000c25, 0x8400000040000c25), SplitPages, false},
		{"NUMA hint is lost", two(0x000fffffbfe009e2, 0x040fffffbfe009a0), anon, false, false, later(0x8000000040000827, 0x8400000040000825), SplitPages, false},
		{"huge zero", all(0x8000000007e000a5), anon, false, false, [3]ends{{0x8000000000333225, 0x8000000000333225},
			{0x8000000000333225, 0x8000000000333225}, {0x8000000000333225, 0x8000000000333225}}, SplitZero, false},
		{"huge zero, uffd-wp, soft-dirty", all(0x8000000007e00ca5), anon, false, false, [3]ends{{0x8000000000333625, 0x8000000000333625},
			{0x8000000000333625, 0x8000000000333625}, {0x8000000000333625, 0x8000000000333625}}, SplitZero, false},
		{"freeze, write", all(leafRW), excl, false, true, swaps(migWrite, sd), SplitFrozen, false},
		{"freeze, exclusive", two(0x8000000040000ce5, 0x8400000040000ca5), excl, false, true, swaps(migReadEx, sd|u), SplitFrozen, false},
		{"freeze, read", two(0x80000000400000e5, 0x84000000400000a5), anon, false, true, swaps(migRead, 0), SplitFrozen, false},
		{"freeze, pinned", all(leafRW), Page{Anon: true, Exclusive: true, Pinned: true}, false, true,
			later(0x8000000040000827, 0x8000000040000867), SplitPages, true},
		{"migration write", ored(migWrite, sd|u), anon, false, false, swaps(migWrite, sd|u), SplitPages, false},
		{"migration read-exclusive", migReadEx, anon, false, false, swaps(migReadEx, 0), SplitPages, true},
		{"migration read, freeze", ored(migRead, u), anon, false, true, swaps(migRead, u), SplitPages, false},
		{"device-private", ored(privWrite, sd|u), excl, false, false, swaps(privWrite, sd|u), SplitPages, true},
		{"device-private read", privRead, anon, false, false, swaps(privRead, 0), SplitPages, false},
	} {
		for n, k := range x86.Kernels() {
			if c.want[n][0] == 0 {
				continue
			}
			v := area(k)
			v.Write = !c.noVM
			var into [Pages]x86.PTE
			r := v.SplitEntries(c.old[n], c.page, c.freeze, &into)
			if got := (ends{into[0], into[511]}); got != c.want[n] {
				t.Errorf("%s, %s: %#x, want %#x", k.Release, c.name, got, c.want[n])
			}
			if r.Kind != c.kind || r.Exclusive != c.excl || r.Old != c.old[n] {
				t.Errorf("%s, %s: %+v", k.Release, c.name, r)
			}
			for i, e := range into {
				if c.kind == SplitZero {
					break
				}
				pfn := e.PFN(v.abi())
				if !e.Present() {
					pfn = v.Layout.FromPTE(e).PFN(v.Layout)
				}
				if pfn != 0x40000+x86.PFN(i) {
					t.Fatalf("%s, %s: page %d is frame %#x", k.Release, c.name, i, uint64(pfn))
				}
			}
		}
	}
}

// TestMigrationPMD and TestRestoredPMD are migration of PMDs.
func TestMigrationPMD(t *testing.T) {
	for _, c := range []struct {
		name string
		old  [3]x86.PMD
		page Page
		want [3]x86.PMD
	}{
		{"write", all(leafRW), Page{Anon: true, Exclusive: true}, ored(migWrite, sd)},
		{"exclusive, uffd-wp", two(0x8000000040000ce5, 0x8400000040000ca5), Page{Anon: true, Exclusive: true}, ored(migReadEx, sd|u)},
		{"read", two(0x80000000400000e5, 0x84000000400000a5), Page{Anon: true}, migRead},
		{"old and clean", all(0x8000000040000085), Page{},
			[3]x86.PMD{0xbffffffff7fffe00, 0xc7fffffff7fffe00, 0xcffffffff7fffe00}},
		{"device-private write", ored(privWrite, sd|u), Page{}, [3]x86.PMD{0, 0, 0xdffffffff7fffe06}},
		{"device-private read, exclusive", privRead, Page{Anon: true, Exclusive: true}, [3]x86.PMD{0, 0, 0xd7fffffff7fffe00}},
	} {
		for n, k := range x86.Kernels() {
			if c.want[n] == 0 {
				continue
			}
			if got := area(k).MigrationPMD(c.old[n], c.page); got != c.want[n] {
				t.Errorf("%s, %s: %#016x, want %#016x", k.Release, c.name, uint64(got), uint64(c.want[n]))
			}
		}
	}
}

func TestRestoredPMD(t *testing.T) {
	anonDirty := Page{Anon: true, Dirty: true}
	for _, c := range []struct {
		name string
		noVM bool
		page Page
		old  [3]x86.PMD
		want [3]x86.PMD
		excl bool
	}{
		{"write", false, anonDirty, ored(migWrite, sd), all(leafRW), true},
		{"write, page clean", false, Page{Anon: true}, ored(migWrite, sd), all(0x80000000400008a7), true},
		{"write, not soft-dirty: dirty makes it so", false, anonDirty, migWrite, all(leafRW), true},
		{"write, area not writable", true, anonDirty, ored(migWrite, sd), two(0x80000000400008e5, leafRW), true},
		{"read-exclusive, uffd-wp", false, anonDirty, ored(migReadEx, u), two(0x8000000040000ce5, 0x8400000040000ca5), true},
		{"write, file", false, Page{}, migWrite, all(0x80000000400000a7), false},
		{"read", false, Page{Anon: true}, migRead, all(0x80000000400000a5), false},
		{"old and clean", false, anonDirty, [3]x86.PMD{0xbffffffff7fffe00, 0xc7fffffff7fffe00, 0xcffffffff7fffe00},
			all(0x8000000040000085), false},
		{"to device memory", false, Page{Anon: true, Device: true}, ored(migWrite, sd|u), [3]x86.PMD{0, 0, 0xeffffffff7fffe06}, true},
		{"to device memory, writable", false, Page{Anon: true, Device: true}, ored(migWrite, sd), [3]x86.PMD{0, 0, 0xe7fffffff7fffe02}, true},
	} {
		for n, k := range x86.Kernels() {
			if c.want[n] == 0 {
				continue
			}
			v := area(k)
			v.Write = !c.noVM
			got, excl := v.RestoredPMD(c.old[n], 0x40000, c.page)
			if got != c.want[n] || excl != c.excl {
				t.Errorf("%s, %s: %#016x, %v; want %#016x, %v", k.Release, c.name, uint64(got), excl, uint64(c.want[n]), c.excl)
			}
		}
	}
}

// TestOtherPMDs: collapse, move, soft-dirty, PAGEMAP_SCAN; clear_refs, mremap, khugepaged, PAGEMAP_SCAN.
func TestOtherPMDs(t *testing.T) {
	for n, k := range x86.Kernels() {
		v := area(k)
		want := func(name string, got x86.PMD, want [3]x86.PMD) {
			t.Helper()
			if got != want[n] {
				t.Errorf("%s, %s: %#016x, want %#016x", k.Release, name, uint64(got), uint64(want[n]))
			}
		}
		want("collapsed", v.CollapsedPMD(0x40000), all(leafRW))
		want("zero page", v.ZeroLeaf(), [3]x86.PMD{0x8000000007e000a5, 0x8000000007e000a5, 0x8000000007e002a5})
		want("moved", v.MovedPMD(0x80000000400004a5, false), all(0x8000000040000ca5))
		want("moved, wp cleared", v.MovedPMD(0x80000000400004a5, true), all(0x80000000400008a5))
		want("migration moved", v.MovedPMD(migRead[n]|u, true), ored(migRead, sd))
		want("soft-dirty cleared", v.ClearSoftDirtyPMD(leafRW), two(0x80000000400000e5, 0x84000000400000a5))
		want("of a migration entry", v.ClearSoftDirtyPMD(migRead[n]|sd|u), ored(migRead, u))
		want("scanned", v.UffdWPPMD(leafRW), two(0x8000000040000ce7, 0x8400000040000ca5))
		v.Write = false
		want("collapsed, area not writable", v.CollapsedPMD(0x40000), two(0x80000000400008e5, 0x84000000400008a5))
	}
}
