package pgtable_test

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

const (
	numa    = x86.ChangeNUMA
	wp      = x86.ChangeUffdWP
	resolve = x86.ChangeUffdWPResolve
	try     = x86.ChangeTryWritable
	shared  = x86.ChangeShared
	tracked = x86.ChangeSoftDirtyTracked
	watched = x86.ChangeAreaUffdWP

	ro = x86.ProtReadonly
	rw = x86.ProtShared
)

// yes answers that every page is exclusive, or none, and that every page is anonymous, or none.
type yes struct {
	layout    *swapentry.Layout
	flags     x86.ChangeFlags
	exclusive bool
	anon      bool
	skip      bool
	asked     *int
}

func (y yes) Exclusive(x86.PFN) bool {
	if y.asked != nil {
		*y.asked++
	}
	return y.exclusive
}
func (y yes) Other(e x86.PTE) x86.PTE { return y.layout.ChangeMigration(e, y.flags, y.anon) }
func (y yes) Skip(pgtable.PTECursor, int, int) (b pgtable.Bitmap) {
	if y.skip {
		b[0] = ^uint64(0)
	}
	return b
}

// row is a change of one entry: what becomes of it in each kernel, 0 for "as in the one before". The last digit of
// count says whether it counts.
type row struct {
	name  string
	prot  x86.Prot
	flags x86.ChangeFlags
	excl  bool
	old   [3]x86.PTE
	want  [3]x86.PTE
	flush bool
}

func each(e x86.PTE) [3]x86.PTE { return [3]x86.PTE{e, e, e} }
func two(v61, later x86.PTE) [3]x86.PTE {
	return [3]x86.PTE{v61, later, later}
}

const (
	dirtyRW   = 0x8000000012345867 // RW, A, D, soft-dirty
	dirtyRO61 = 0x8000000012345865
	dirtyRO   = 0x8400000012345825
)

// worked is change_pte_range(), pages, worked values of mprotect.
var worked = []row{
	{"RO", ro, 0, false, each(dirtyRW), two(dirtyRO61, dirtyRO), true},
	{"then RW, exclusive", ro, try, true, two(dirtyRO61, dirtyRO), each(dirtyRW), true},
	{"then RW, not exclusive", ro, try, false, two(dirtyRO61, dirtyRO), two(dirtyRO61, dirtyRO), false},
	{"NONE", x86.ProtNone, 0, false, each(dirtyRW), two(0x000fffffedcba960, 0x040fffffedcba920), true},
	{"NUMA hint", x86.ProtNone, numa, false, each(dirtyRW), two(0x000fffffedcba962, 0x040fffffedcba920), true},
	{"uffd-wp, private", ro, wp, false, each(dirtyRW), two(0x8000000012345c65, 0x8400000012345c25), true},
	{"resolve, not exclusive", ro, resolve, false, two(0x8000000012345c65, 0x8400000012345c25), two(dirtyRO61, dirtyRO), false},
	{"resolve, exclusive", ro, resolve | try, true, two(0, 0x8400000012345c25), two(0, dirtyRW), true},
	{"resolve, shared: 6.1 has RW from the area", rw, resolve | shared, false, two(0x8000000012345c65, 0), two(dirtyRW, 0), true},
	{"resolve, shared: vm_page_prot without RW", ro, resolve | shared, false, two(0, 0x8400000012345c25), two(0, dirtyRO), false},
	{"shared, write-notified", ro, shared, false, each(dirtyRW), two(dirtyRO61, dirtyRO), true},
	{"NONE to RW, clean exclusive", ro, try, true, each(0x000fffffedcba120), two(0x8000000012345025, 0x8000000012345027), false},
	{"NONE to RO", ro, 0, false, two(0x000fffffedcba960, 0x040fffffedcba920), two(dirtyRO61, dirtyRO), false},
	{"NONE to RW", ro, try, true, two(0x000fffffedcba960, 0x040fffffedcba920), each(dirtyRW), false},
	{"clean RO to RO", ro, 0, false, each(0x8000000012345825), each(0x8000000012345825), false},
	{"clean RO to RW", ro, try, true, two(0, 0x8000000012345825), two(0, 0x8000000012345827), true},
	{"clean RO to RW, 6.1 wants D", ro, try, true, two(0x8000000012345825, 0), two(0x8000000012345825, 0), false},
	{"copied page to RW", ro, try, false, each(0x8000000012345825), each(0x8000000012345825), false},
	{"zero page to RO", ro, 0, false, each(0x8000000012345225), each(0x8000000012345225), false},
	{"zero page to RW", ro, try, true, each(0x8000000012345225), each(0x8000000012345225), false},
	{"not to be written to yet: NONE", x86.ProtNone, try, true, each(dirtyRW), two(0x000fffffedcba960, 0x040fffffedcba920), true},
	{"tracked and not soft-dirty", ro, try | tracked, true, two(0x8000000012345065, 0x8400000012345025),
		two(0x8000000012345065, 0x8400000012345025), false},
	{"tracked and soft-dirty", ro, try | tracked, true, two(dirtyRO61, dirtyRO), each(dirtyRW), true},
	{"protected, area watched", ro, try | watched, true, two(0x8000000012345c65, 0x8400000012345c25),
		two(0x8000000012345c65, 0x8400000012345c25), false},
	{"protected, area no longer watched", ro, try, true, two(0x8000000012345c65, 0x8400000012345c25), each(0x8000000012345c67), true},
	{"shared and dirty", ro, try | shared, false, two(dirtyRO61, dirtyRO), each(dirtyRW), true},
	{"shared and clean", ro, try | shared, true, each(0x8000000012345825), each(0x8000000012345825), false},
	{"protected page of a shared area, RW", rw, 0, false, each(0x8000000012345c25), each(0x8000000012345c27), true},
}

// TestChangeProtectionWorked: single entries, in all kernels.
func TestChangeProtectionWorked(t *testing.T) {
	for n, k := range x86.Kernels() {
		for _, c := range worked {
			if c.old[n] == 0 {
				continue
			}
			l := swapentry.NewLayout(x86.MustABI(k, x86.DefaultPaging(4)))
			p := protection(t, l, c.prot, c.flags, swapentry.BackingAnon, false, yes{exclusive: c.excl})
			got, pages, flush := changeOne(t, l, p, c.old[n])
			if got != c.want[n] || pages != 1 || flush != c.flush {
				t.Errorf("%s, %s: %#016x counted %d, flush %v; want %#016x, 1, %v", k.Release, c.name, uint64(got), pages,
					flush, uint64(c.want[n]), c.flush)
			}
		}
	}
}

// TestChangeProtectionSkipsHints: what a NUMA hint leaves alone does not count.
func TestChangeProtectionSkipsHints(t *testing.T) {
	for _, k := range x86.Kernels() {
		l := swapentry.NewLayout(x86.MustABI(k, x86.DefaultPaging(4)))
		for _, c := range []struct {
			old  x86.PTE
			skip bool
		}{{0x000fffffedcba120, false}, {dirtyRW, true}} {
			p := protection(t, l, x86.ProtNone, numa, swapentry.BackingAnon, false, yes{skip: c.skip})
			if got, pages, flush := changeOne(t, l, p, c.old); got != c.old || pages != 0 || flush {
				t.Errorf("%s: %#016x became %#016x, counted %d, flush %v", k.Release, uint64(c.old), uint64(got), pages, flush)
			}
		}
	}
}

// TestChangeProtectionOther is change_pte_range(), entries without a page: P=y, four levels.
func TestChangeProtectionOther(t *testing.T) {
	type table struct {
		name    string
		flags   x86.ChangeFlags
		backing swapentry.Backing
		old     [3]x86.PTE
		want    [3]x86.PTE // of counted changes; equal to old if nothing changes
	}
	const sd, u = x86.PageSwpSoftDirty, x86.PageSwpUffdWP
	anon, file := swapentry.BackingAnon, swapentry.BackingFile
	var (
		write   = [3]x86.PTE{0xcfffe7fffdb97400, 0xd7ffe7fffdb97400, 0xdfffe7fffdb97400} // young, dirty
		readEx  = [3]x86.PTE{0xc7ffe7fffdb97400, 0xcfffe7fffdb97400, 0xd7ffe7fffdb97400}
		read    = [3]x86.PTE{0xbfffe7fffdb97400, 0xc7ffe7fffdb97400, 0xcfffe7fffdb97400}
		poison  = [3]x86.PTE{0xb7fffffffdb97400, 0xbffffffffdb97400, 0xc7fffffffdb97400}
		privW   = [3]x86.PTE{0xd7fffffffdb97400, 0xdffffffffdb97400, 0xe7fffffffdb97400}
		privR   = [3]x86.PTE{0xdffffffffdb97400, 0xe7fffffffdb97400, 0xeffffffffdb97400}
		exclW   = [3]x86.PTE{0xe7fffffffdb97400, 0xeffffffffdb97400, 0xf7fffffffdb97400}
		exclR   = [3]x86.PTE{0xeffffffffdb97400, 0xf7fffffffdb97400, 0xf7fffffffdb97400}
		swap    = each(0x07ffffffffdb9600)
		marker  = [3]x86.PTE{0xf7fffffffffffc00, 0xfffffffffffffc00, 0xfffffffffffffc00}
		swapin  = [3]x86.PTE{0xfffffffffdb97400}
		ptePois = two(0, 0xfffffffffffffa00)
		both    = two(0, 0xfffffffffffff800)
		guard   = [3]x86.PTE{0, 0, 0xfffffffffffff600}
	)
	with := func(e [3]x86.PTE, bits x86.PTE) [3]x86.PTE {
		for i := range e {
			e[i] |= bits
		}
		return e
	}
	dropU := func(e [3]x86.PTE) [3]x86.PTE { // 6.1 keeps U of a migration entry, later kernels do not
		return [3]x86.PTE{e[0] | u, e[1], e[2]}
	}
	for _, c := range []table{
		{"migration write, anon", 0, anon, write, readEx},
		{"migration write, file", 0, file, write, read},
		{"migration write, asked", 0, swapentry.BackingMixed, write, readEx},
		{"migration write, flags", 0, anon, with(write, sd|u), dropU(with(readEx, sd))},
		{"migration write, wp", wp, anon, with(write, sd), with(readEx, sd|u)},
		{"migration write, resolve", resolve, file, with(write, sd|u), with(read, sd)},
		{"migration read", 0, anon, with(read, sd|u), with(read, sd|u)},
		{"migration read-exclusive, wp", wp, anon, readEx, with(readEx, u)},
		{"swap", 0, anon, with(swap, 0xe), with(swap, 0xe)},
		{"swap, wp", wp, anon, with(swap, 0xa), with(swap, 0xe)},
		{"swap, resolve", resolve, anon, with(swap, 0xe), with(swap, 0xa)},
		{"swap, wp already", wp, anon, with(swap, u), with(swap, u)},
		{"device-private write", 0, anon, with(privW, sd|u), with(privR, u)},
		{"device-private write, resolve", resolve, anon, with(privW, sd|u), privR},
		{"device-private read", 0, anon, with(privR, sd), with(privR, sd)},
		{"device-exclusive write", 0, anon, with(exclW, sd|u), [3]x86.PTE{exclR[0] | sd | u, exclR[1] | sd | u, exclW[2] | sd | u}},
		{"device-exclusive, wp", wp, anon, exclW, with(exclR, u)},
		{"hwpoison", 0, anon, poison, poison},
		{"hwpoison, wp", wp, anon, poison, with(poison, u)},
		{"swapin error", 0, anon, swapin, swapin},
		{"swapin error, wp", wp, anon, swapin, [3]x86.PTE{swapin[0] | u}},
		{"marker", 0, file, marker, marker},
		{"marker, wp", wp, file, marker, marker},
		{"marker, resolve", resolve, file, marker, each(0)},
		{"poison marker, resolve", resolve, file, ptePois, ptePois},
		{"poison and uffd-wp marker, resolve", resolve, file, both, both},
		{"poison marker, wp", wp, file, ptePois, ptePois},
		{"guard marker, resolve", resolve, file, guard, guard},
		{"guard marker, NUMA", numa, file, guard, guard},
		{"empty, wp", wp, file, each(0), marker},
		{"empty with stray bits, wp", wp, file, each(x86.PageAccessed), marker},
		{"empty, resolve", resolve, file, each(x86.PageDirty), each(x86.PageDirty)},
	} {
		for n, k := range x86.Kernels() {
			k.DevicePrivate = true
			if c.old[n]&^u == 0 && c.old[1]|c.old[2]|c.old[0] != 0 {
				continue // not in this kernel
			}
			l := swapentry.NewLayout(x86.MustABI(k, x86.DefaultPaging(4)))
			p := protection(t, l, x86.ProtNone, c.flags, c.backing, c.backing != anon, yes{layout: l, flags: c.flags, anon: true})
			got, pages, flush := changeOne(t, l, p, c.old[n])
			counted := int64(0)
			if c.want[n] != c.old[n] {
				counted = 1
			}
			if got != c.want[n] || pages != counted || flush {
				t.Errorf("%s, %s: %#016x became %#016x counted %d, flush %v; want %#016x, %d", k.Release, c.name,
					uint64(c.old[n]), uint64(got), pages, flush, uint64(c.want[n]), counted)
			}
		}
	}
}

func protection(t testing.TB, l *swapentry.Layout, prot x86.Prot, f x86.ChangeFlags, b swapentry.Backing, markers bool, pages yes) *pgtable.Protection {
	t.Helper()
	p, err := pgtable.NewProtection(l.ABI(), pgtable.ProtectionArgs{
		Prot: prot, Flags: f, Swap: l.Change(f, b, markers), Anonymous: b == swapentry.BackingAnon, Pages: pages,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func protectTree(t testing.TB, a *x86.ABI, frames uint64) (*physmem.RAM, *pgtable.Tree) {
	t.Helper()
	ram, err := physmem.NewRAM(ramBase, frames)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ram.Close() })
	tree, err := pgtable.New(ram, a)
	if err != nil {
		t.Fatal(err)
	}
	return ram, tree
}

// changeOne changes an entry of its own table, at slot 5, and checks that its neighbours stay.
func changeOne(t *testing.T, l *swapentry.Layout, p *pgtable.Protection, e x86.PTE) (got x86.PTE, pages int64, flush bool) {
	t.Helper()
	const va = 0x7f12_3400_5000
	_, tree := protectTree(t, l.ABI(), 512)
	c, err := tree.LockPTEs(va, true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range perTable {
		c.Set(i, e)
	}
	c.Unlock()
	var g pgtable.Gather
	g.Start(tree, nil)
	pages, err = tree.ChangeProtection(&g, pgtable.Range{First: va, Last: va + 0xfff}, p)
	if err != nil {
		t.Fatal(err)
	}
	f, flush := g.Owed()
	if flush && f != (pgtable.Flush{Range: pgtable.Range{First: va, Last: va + 0xfff}, Levels: 1 << x86.LevelPTE}) {
		t.Errorf("owed %+v", f)
	}
	if err := errors.Join(g.Finish(), tree.Check()); err != nil {
		t.Error(err)
	}
	c, _ = tree.LockPTEs(va, false)
	defer c.Unlock()
	for i := range perTable {
		if i != 5 && c.Get(i) != e {
			t.Fatalf("entry %d changed too", i)
		}
	}
	return c.Get(5), pages, flush
}
