package pgtable_test

import (
	"errors"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// bigFolios says that frames belong to folios of this size.
type bigFolios uint64

func (n bigFolios) Folio(pfn x86.PFN) (x86.PFN, uint64) { return pfn &^ x86.PFN(n-1), uint64(n) }

func layoutFor(k x86.Kernel) *swapentry.Layout {
	return swapentry.NewLayout(x86.MustABI(k, x86.DefaultPaging(4)))
}

// TestChangeProtectionBatches is folio batches: pages of frames 0x12340 on.
func TestChangeProtectionBatches(t *testing.T) {
	const (
		clean = 0x8000000012340025 // RO, A
		saved = 0x8400000012340025 // RO, A, saved-dirty, not soft-dirty
		rwOld = 0x8000000012340007 // RW, neither A nor D
		rwD   = 0x8000000012340867 // RW, A, D, soft-dirty
		rwDSD = 0x8000000012340067 // RW, A, D, not soft-dirty
	)
	at := func(e x86.PTE, i int) x86.PTE { return e + x86.PTE(i)<<12 }
	run := func(e ...x86.PTE) []x86.PTE {
		for i := range e {
			if e[i] != 0 {
				e[i] = at(e[i], i)
			}
		}
		return e
	}
	for _, c := range []struct {
		name   string
		folio  bigFolios
		prot   x86.Prot
		flags  x86.ChangeFlags
		excl   bool
		old    []x86.PTE
		merged []x86.PTE // in 7.2
		single []x86.PTE // in 6.12
	}{
		{"saved-dirty run becomes soft-dirty", 16, ro, 0, false, run(saved, saved, saved),
			run(0x8400000012340825, 0x8400000012340825, 0x8400000012340825), run(saved, saved, saved)},
		{"a run of one does not", 16, ro, 0, false, run(saved), run(saved), run(saved)},
		{"folio of one page", 1, ro, 0, false, run(saved, saved), run(saved, saved), run(saved, saved)},
		{"folios of two pages", 2, ro, 0, false, run(saved, clean, saved), run(saved, saved, saved),
			run(saved, clean, saved)},
		{"A and D go to all; soft-dirty splits the run", 16, ro, 0, false, run(rwOld, rwDSD, rwD, rwD),
			run(0x8400000012340825, 0x8400000012340825, 0x8400000012340825, 0x8400000012340825),
			run(0x8000000012340005, 0x8400000012340025, 0x8400000012340825, 0x8400000012340825)},
		{"a hole ends the run", 16, ro, 0, false, run(saved, 0, saved), run(saved, 0, saved), run(saved, 0, saved)},
		{"frames out of order", 16, ro, 0, false, []x86.PTE{saved, at(saved, 2)}, []x86.PTE{saved, at(saved, 2)},
			[]x86.PTE{saved, at(saved, 2)}},
		{"RW splits the run", 16, ro, 0, false, run(saved, rwOld), run(saved, 0x8000000012340005),
			run(saved, 0x8000000012340005)},
		{"shared: the merged dirty state decides for all", 16, ro, try | shared, false, run(clean, saved),
			run(0x8000000012340867, 0x8000000012340867), run(clean, 0x8000000012340067)},
	} {
		for _, k := range []x86.Kernel{x86.Linux6_12(), x86.Linux7_2()} {
			want := c.single
			if k.Release == "7.2" {
				want = c.merged
			}
			l := layoutFor(k)
			p, err := pgtable.NewProtection(l.ABI(), pgtable.ProtectionArgs{
				Prot: c.prot, Flags: c.flags, Swap: l.Change(c.flags, swapentry.BackingAnon, false), Anonymous: true, Folios: c.folio,
			})
			if err != nil {
				t.Fatal(err)
			}
			got, pages := changeRun(t, l.ABI(), p, c.old)
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s:\ngot  %#x\nwant %#x", k.Release, c.name, got, want)
			}
			if n := int64(len(c.old)); pages != n && c.name != "a hole ends the run" {
				t.Errorf("%s, %s: counted %d, want %d", k.Release, c.name, pages, n)
			}
		}
	}
}

// changeRun changes entries that lie at the end of a table.
func changeRun(t *testing.T, a *x86.ABI, p *pgtable.Protection, old []x86.PTE) (got []x86.PTE, pages int64) {
	t.Helper()
	const end = 0x7f12_3420_0000
	va := x86.Virt(end - len(old)*x86.PageSize)
	_, tree := protectTree(t, a, 512)
	c, err := tree.LockPTEs(va, true)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range old {
		c.Set(perTable-len(old)+i, e)
	}
	c.Unlock()
	var g pgtable.Gather
	g.Start(tree, nil)
	pages, err = tree.ChangeProtection(&g, pgtable.Range{First: va, Last: end - 1}, p)
	if err := errors.Join(err, g.Finish(), tree.Check()); err != nil {
		t.Error(err)
	}
	c, _ = tree.LockPTEs(va, false)
	defer c.Unlock()
	for i := range old {
		got = append(got, c.Get(perTable-len(old)+i))
	}
	return got, pages
}

// TestChangeProtectionAsksWhereItMatters: nobody asks about pages that stay read-only whatever the answer.
func TestChangeProtectionAsksWhereItMatters(t *testing.T) {
	for n, k := range x86.Kernels() {
		l := layoutFor(k)
		asked := 0
		p := protection(t, l, ro, try|tracked, swapentry.BackingAnon, false, yes{exclusive: true, asked: &asked})
		old := []x86.PTE{
			0x8000000012345867, // writable: asked, as it loses RW first
			0x8000000012345025, // not soft-dirty
			0x8000000012345225, // special
			0,                  // empty
			0x07ffffffffdb9600, // swap
			[]x86.PTE{dirtyRO61, dirtyRO, dirtyRO}[n], // asked
		}
		changeRun(t, l.ABI(), p, old)
		if asked != 2 {
			t.Errorf("%s: asked %d times, want 2", k.Release, asked)
		}
	}
}

// TestChangeProtectionMakesTables: protecting what is not there yet needs tables, and ends, or goes on, without memory.
func TestChangeProtectionMakesTables(t *testing.T) {
	r := pgtable.Range{First: 0x7f12_3ff0_0000, Last: 0x7f12_405f_ffff} // 1, 2, 2 and 2 MiB, in two PMD tables
	const want = (1 + 2 + 2 + 2) << 20 / x86.PageSize
	for _, k := range x86.Kernels() {
		l := layoutFor(k)
		p := protection(t, l, ro, wp, swapentry.BackingFile, true, yes{})
		for _, c := range []struct {
			frames uint64 // that the tables may take
			pages  [2]int64
			err    [2]error
		}{
			{512, [2]int64{want, want}, [2]error{}},
			{5, [2]int64{256, 256}, [2]error{nil, physmem.ErrNoMemory}}, // three, a PTE table, the second PMD table
			{3, [2]int64{0, 0}, [2]error{nil, physmem.ErrNoMemory}},
		} {
			ram, tree := protectTree(t, l.ABI(), 512)
			ram.SetLimit(c.frames)
			var g pgtable.Gather
			g.Start(tree, nil)
			pages, err := tree.ChangeProtection(&g, r, p)
			if e := errors.Join(g.Finish(), tree.Check()); e != nil {
				t.Error(e)
			}
			i := 1
			if k.Release == "6.1" {
				i = 0
			}
			if pages != c.pages[i] || !errors.Is(err, c.err[i]) {
				t.Errorf("%s, %d frames: %d pages, %v; want %d, %v", k.Release, c.frames, pages, err, c.pages[i], c.err[i])
			}
		}
	}
}

// vanish is a huge page that turns into a table, or into nothing, while somebody looks.
type vanish struct {
	t     *testing.T
	tree  *pgtable.Tree
	calls []string
	leave bool // clear on split, as files are
	blind int  // so many times, ChangePMD finds nothing huge
}

func (v *vanish) ChangePMD(g *pgtable.Gather, va x86.Virt, p *pgtable.Protection) (int, error) {
	v.calls = append(v.calls, "change "+va.String())
	if len(v.calls) <= v.blind {
		return 0, nil
	}
	return perTable, nil
}

func (v *vanish) SplitPMD(g *pgtable.Gather, va x86.Virt) error {
	v.calls = append(v.calls, "split "+va.String())
	c, err := v.tree.LockPMDs(va, false)
	if err != nil {
		return err
	}
	defer c.Unlock()
	c.GetAndClear(va.Index(x86.LevelPMD))
	if v.leave {
		return nil
	}
	pfn, err := v.tree.AllocTable()
	if err == nil {
		c.Populate(va.Index(x86.LevelPMD), pfn)
	}
	return err
}

// TestChangeProtectionHuge: a huge page that is covered is changed whole, else split; and for files under uffd-wp,
// always.
func TestChangeProtectionHuge(t *testing.T) {
	const base = 0x7f12_3400_0000
	for _, k := range x86.Kernels() {
		l := layoutFor(k)
		for _, c := range []struct {
			name    string
			first   x86.Virt
			size    uint64
			flags   x86.ChangeFlags
			backing swapentry.Backing
			leave   bool
			calls   []string
			pages   int64
		}{
			{"both", base, 4 << 20, 0, swapentry.BackingAnon, false,
				[]string{"change 0x00007f1234000000", "change 0x00007f1234200000"}, 1024},
			{"second, and the end of the first", base + 0x1ff000, 2<<20 + 0x1000, 0, swapentry.BackingAnon, false,
				[]string{"split 0x00007f12341ff000", "change 0x00007f1234200000"}, 512},
			{"file", base, 2 << 20, 0, swapentry.BackingFile, true, []string{"change 0x00007f1234000000"}, 512},
			{"file, in part", base, 1 << 20, 0, swapentry.BackingFile, true, []string{"split 0x00007f1234000000"}, 0},
			{"file, protected: markers", base, 2 << 20, wp, swapentry.BackingFile, true, []string{"split 0x00007f1234000000"}, 512},
			{"anon, protected", base, 2 << 20, wp, swapentry.BackingAnon, true, []string{"change 0x00007f1234000000"}, 512},
		} {
			_, tree := protectTree(t, l.ABI(), 512)
			pmds, err := tree.LockPMDs(base, true)
			if err != nil {
				t.Fatal(err)
			}
			pmds.Set(x86.Virt(base).Index(x86.LevelPMD), 0x80000000800008e7)
			pmds.Set(x86.Virt(base).Index(x86.LevelPMD)+1, 0x80000000802008e7)
			pmds.Unlock()
			v := &vanish{t: t, tree: tree, leave: c.leave}
			p, err := pgtable.NewProtection(l.ABI(), pgtable.ProtectionArgs{
				Prot: ro, Flags: c.flags, Swap: l.Change(c.flags, c.backing, c.backing != swapentry.BackingAnon),
				Anonymous: c.backing == swapentry.BackingAnon, Huge: v,
			})
			if err != nil {
				t.Fatal(err)
			}
			var g pgtable.Gather
			g.Start(tree, nil)
			pages, err := tree.ChangeProtection(&g, pgtable.Range{First: c.first, Last: c.first + x86.Virt(c.size) - 1}, p)
			if err := errors.Join(err, g.Finish(), tree.Check()); err != nil {
				t.Errorf("%s, %s: %v", k.Release, c.name, err)
			}
			if pages != c.pages || !slices.Equal(v.calls, c.calls) {
				t.Errorf("%s, %s: %d pages, %q; want %d, %q", k.Release, c.name, pages, v.calls, c.pages, c.calls)
			}
		}
	}
}

// TestChangeProtectionRetries: where a huge page comes back just when its table was to be locked, old kernels pass it
// over, and new ones look again.
func TestChangeProtectionRetries(t *testing.T) {
	const va = 0x7f12_3400_0000
	for _, k := range x86.Kernels() {
		l := layoutFor(k)
		_, tree := protectTree(t, l.ABI(), 512)
		pmds, err := tree.LockPMDs(va, true)
		if err != nil {
			t.Fatal(err)
		}
		pmds.Set(x86.Virt(va).Index(x86.LevelPMD), 0x80000000800008e7)
		pmds.Unlock()
		v := &vanish{t: t, tree: tree, blind: 3}
		p, err := pgtable.NewProtection(l.ABI(), pgtable.ProtectionArgs{Prot: ro, Anonymous: true, Huge: v})
		if err != nil {
			t.Fatal(err)
		}
		var g pgtable.Gather
		g.Start(tree, nil)
		pages, err := tree.ChangeProtection(&g, pgtable.Range{First: va, Last: va + 2<<20 - 1}, p)
		if err := errors.Join(err, g.Finish()); err != nil {
			t.Error(err)
		}
		wantPages, wantCalls := int64(perTable), 4
		if k.Release == "6.1" {
			wantPages, wantCalls = 0, 1
		}
		if pages != wantPages || len(v.calls) != wantCalls {
			t.Errorf("%s: %d pages, %d calls; want %d, %d", k.Release, pages, len(v.calls), wantPages, wantCalls)
		}
	}
}

// TestChangeProtectionErrors: huge pages and questions without anybody to ask.
func TestChangeProtectionErrors(t *testing.T) {
	l := layoutFor(x86.Linux6_12())
	mixed := pgtable.ProtectionArgs{Prot: ro, Swap: l.Change(0, swapentry.BackingMixed, false)}
	if _, err := pgtable.NewProtection(l.ABI(), mixed); !errors.Is(err, pgtable.ErrQuestion) {
		t.Errorf("mixed area without Pages: %v", err)
	}
	if _, err := pgtable.NewProtection(l.ABI(), pgtable.ProtectionArgs{Flags: wp | resolve}); err == nil {
		t.Error("both uffd flags: no error")
	}
	_, tree := protectTree(t, l.ABI(), 512)
	pmds, err := tree.LockPMDs(0x200000, true)
	if err != nil {
		t.Fatal(err)
	}
	pmds.Set(1, 0x80000000802008e7)
	pmds.Unlock()
	var g pgtable.Gather
	g.Start(tree, nil)
	p := protection(t, l, ro, 0, swapentry.BackingAnon, false, yes{})
	var at *pgtable.AddrError
	if _, err := tree.ChangeProtection(&g, pgtable.Range{First: 0, Last: 0x3fffff}, p); !errors.Is(err, pgtable.ErrHuge) ||
		!errors.As(err, &at) || at.VA != 0x200000 {
		t.Errorf("huge page: %v", err)
	}
	if _, err := tree.ChangeProtection(&g, pgtable.Range{First: 1, Last: 0xfff}, p); !errors.Is(err, pgtable.ErrRange) {
		t.Errorf("odd range: %v", err)
	}
	g.Finish()
}
