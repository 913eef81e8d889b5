package runs

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/pgtable"
)

// ranges is a Sink that keeps all, each with the region that was announced before it.
type ranges struct {
	all      []Run
	regions  []string
	problems []pgtable.Problem
	region   string
}

func (r *ranges) Run(run *Run) error {
	r.all = append(r.all, *run)
	r.regions = append(r.regions, r.region)
	return nil
}

func (r *ranges) Marker(m linux.Marker) error      { r.region = m.Name; return nil }
func (r *ranges) Problem(p *pgtable.Problem) error { r.problems = append(r.problems, *p); return nil }

// meaningOf puts into words what a leaf means, without the words that a run only counts.
func meaningOf(abi *x86.ABI, l *tree.Leaf) string {
	s := fmt.Sprintf("%v %v %v", l.Level, l.Kind, l.Rights)
	if l.IsPage() {
		for _, f := range l.Kind.AppendFlags(abi, nil, l.Level, l.Raw) {
			if f != "ACCESSED" && f != "DIRTY" && f != "SAVED_DIRTY" {
				s += " " + f
			}
		}
		return s + fmt.Sprintf(" P=%v pkey %d shadow stack %v invalid %v", l.Raw&1, l.Pkey(), x86.PTE(l.Raw).Shstk(abi), l.Invalid)
	}
	e := l.Swap
	if l.Kind == tree.KindMarker {
		s += fmt.Sprintf(" %#x", e.Offset)
	}
	return s + fmt.Sprint(" ", e.Type, e.SoftDirty, e.UffdWP, e.Exclusive, e.Access, e.Write, e.Marker, e.Stray, l.Invalid)
}

// naiveRuns merges leaves one by one, by the words of meaningOf.
func naiveRuns(abi *x86.ABI, markers []linux.Marker, all []tree.Leaf) []Run {
	var runs []Run
	last := ""
	for i := range all {
		l := &all[i]
		words := linux.RegionAt(markers, l.VA).Name + " " + meaningOf(abi, l)
		n := len(runs) - 1
		if n < 0 || words != last || runs[n].End() != l.VA {
			runs = append(runs, Run{First: *l})
			n++
		}
		r := &runs[n]
		if at, step, ok := place(l); ok && r.Count > 0 {
			prev, _, _ := place(&all[i-1])
			r.Scattered = r.Scattered || at != prev+step
			first, _, _ := place(&r.First)
			r.Moves = r.Moves || at != first
		}
		r.Count++
		names := abi.AppendFlags(nil, l.Level, l.Raw)
		if l.IsPage() && slices.Contains(names, "ACCESSED") || l.Kind == tree.KindMigration && l.Swap.Young {
			r.Accessed++
		}
		if l.IsPage() && (slices.Contains(names, "DIRTY") || slices.Contains(names, "SAVED_DIRTY")) ||
			l.Kind == tree.KindMigration && l.Swap.Dirty {
			r.Dirty++
		}
		last = words
	}
	return runs
}

func sameRuns(t *testing.T, got, want []Run, what string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: range %d:\ngot  %+v\nwant %+v", what, i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d ranges, want %d", what, len(got), len(want))
	}
}

// TestRunsAreLeavesMerged: on every capture, the ranges are the leaves merged one by one, with and without reuse of
// shared tables, and the regions are those of their addresses.
func TestRunsAreLeavesMerged(t *testing.T) {
	capturetest.EachDump(t, func(t *testing.T, f truth.Folder, s *tree.Tree) {
		markers := s.System.Markers()
		var entries capturetest.Leaves
		if err := s.Walk(tree.Filter{}, &entries); err != nil {
			t.Fatal(err)
		}
		want := naiveRuns(s.ABI, markers, entries.All)
		for _, everything := range []bool{true, false} {
			var got ranges
			if err := walk(s, tree.Filter{}, markers, &got, everything); err != nil {
				t.Fatal(err)
			}
			sameRuns(t, got.all, want, fmt.Sprintf("everything %v", everything))
			for i, r := range got.all {
				if name := linux.RegionAt(markers, r.First.VA).Name; got.regions[i] != name {
					t.Fatalf("%v lies in %q, announced as %q", r.First.VA, name, got.regions[i])
				}
			}
		}
		t.Logf("%d leaves in %d ranges", len(entries.All), len(want))
	})
}

// TestEspfixIsWhole: the one page of the espfix area is mapped 65536 times by few tables, and each mapping is a
// range of its own.
func TestEspfixIsWhole(t *testing.T) {
	capturetest.EachDump(t, func(t *testing.T, f truth.Folder, s *tree.Tree) {
		if strings.HasPrefix(f.Name(), "kernel-ptdump") {
			t.Skip("this kernel has no espfix area")
		}
		markers := s.System.Markers()
		n := 0
		var got ranges
		if err := Walk(s, tree.Filter{}, markers, &got); err != nil {
			t.Fatal(err)
		}
		for i := range got.all {
			if got.regions[i] == linux.RegionESPFix.String() {
				n++
			}
		}
		cpus := len(s.System.CPUs)
		if n < 65536 || n > 65536*cpus || got.problems != nil {
			t.Errorf("%d ranges, problems %v", n, got.problems)
		}
	})
}

// TestRunKinds: one range of each kind, beside each other in one table, with what it counts.
func TestRunKinds(t *testing.T) {
	m := pttree.New(0x100)
	root := m.Table()
	va := x86.Virt(0x7000000000)
	put := func(entries ...uint64) {
		for _, e := range entries {
			m.Map(root, 4, va, x86.LevelPTE, e, x86.PageTable)
			va += x86.PageSize
		}
	}
	swap := func(offset, flags uint64) uint64 { return ^offset<<14>>5 | 3<<59 | flags }
	put(0x8000000000010025, 0x8000000000011065, 0x8400000000012025, 0x8000000000013025) // D, then SAVED_DIRTY
	put(0x8000000000020825)                                                             // soft-dirty
	put(0x8000000000030025)                                                             // scattered from here
	put(0x8000000000029005)                                                             // old
	put(swap(0x12, 0), swap(0x13, 0), swap(0x14, 0))
	put(swap(0x15, x86.PageSwpSoftDirty))
	put(swap(0x99, 0), swap(0x98, 0))
	put(0xfffffffffffffc00, 0xfffffffffffffc00, 0xfffffffffffff600)                        // uffd-wp, uffd-wp, guard
	put(0x000fffffedcba960, 0x000fffffedcb9960&^0x20)                                      // PROT_NONE, ascending frames
	put(0xf7fffffffdb97400, 0xf7ffe7fffdb97400-1<<9, 0xf7fffffffdb97400-2<<9|x86.PageUser) // migration, with A and D, uffd-wp
	put(0, 0x20)                                                                           // nothing
	put(0x8000000000040025 | 5<<59)                                                        // pkey
	var got ranges
	s := capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4))
	if err := Walk(s, tree.Filter{}, nil, &got); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range got.all {
		first, last, ok := r.Places()
		lines = append(lines, fmt.Sprintf("%x+%d %s A%d D%d %x-%x %v scattered=%v",
			(uint64(r.First.VA)-0x7000000000)>>12, r.Count, r.First.Kind, r.Accessed, r.Dirty, first, last, ok, r.Scattered))
	}
	want := []string{
		"0+4 present A4 D2 10-13 true scattered=false",
		"4+1 present A1 D0 20-20 true scattered=false",
		"5+2 present A1 D0 30-31 true scattered=true",
		"7+3 swap A0 D0 12-14 true scattered=false",
		"a+1 swap A0 D0 15-15 true scattered=false",
		"b+2 swap A0 D0 99-9a true scattered=true",
		"d+2 marker A0 D0 0-0 false scattered=false",
		"f+1 marker A0 D0 0-0 false scattered=false",
		"10+2 protnone A1 D2 12345-12346 true scattered=false",
		"12+2 migration A1 D1 12345-12346 true scattered=false",
		"14+1 migration A0 D0 12347-12347 true scattered=false",
		"17+1 present A1 D0 40-40 true scattered=false",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

// TestRunsEndAtMarkers: a marker in the middle of equal entries divides them, also where the table was met before.
func TestRunsEndAtMarkers(t *testing.T) {
	m := pttree.New(0x100)
	root := m.Table()
	m.Map(root, 4, 0, x86.LevelPTE, 0x5025, x86.PageTable)
	pmd := x86.Phys(m.At(x86.Phys(m.At(root)[0]).PFN())[0]).PFN()
	shared := x86.Phys(m.At(pmd)[0]).PFN()
	m.Fill(shared, 0x5025)
	m.Fill(pmd, m.At(pmd)[0])
	const mib2 = 2 << 20
	markers := []linux.Marker{{Addr: 0, Name: "a"}, {Addr: 100*mib2 + 7*x86.PageSize, Name: "b"}, {Addr: 200 * mib2, Name: "c"}, {Addr: 1 << 40, Name: "d"}}
	var got ranges
	if err := Walk(capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4)), tree.Filter{}, markers, &got); err != nil {
		t.Fatal(err)
	}
	var sizes []uint64
	for _, r := range got.all {
		sizes = append(sizes, r.Count)
	}
	want := []uint64{100*512 + 7, 100*512 - 7, 312 * 512}
	if !slices.Equal(sizes, want) || !slices.Equal(got.regions, []string{"a", "b", "c"}) {
		t.Errorf("ranges of %v pages in %v, want %v in a b c", sizes, got.regions, want)
	}
}

// dagBomb returns a tree in which every slot of every level leads to the same next table; fill fills the last.
func dagBomb(levels int, fill func(*pttree.Mem, x86.PFN)) (*pttree.Mem, x86.PFN) {
	m := pttree.New(0x100)
	root := m.Table()
	f := root
	for range levels - 1 {
		next := m.Table()
		m.Fill(f, uint64(next.Phys())|x86.PageTable)
		f = next
	}
	fill(m, f)
	return m, root
}

// TestBombOfEqualPages: 512^4 equal pages in five tables are one range on each side of the hole.
func TestBombOfEqualPages(t *testing.T) {
	for _, levels := range []int{4, 5} {
		m, root := dagBomb(levels, func(m *pttree.Mem, f x86.PFN) { m.Fill(f, 0x5025) })
		p := x86.DefaultPaging(levels)
		var got ranges
		if err := Walk(capturetest.TreeOf(m, root, x86.Linux7_2(), p), tree.Filter{}, nil, &got); err != nil {
			t.Fatal(err)
		}
		half := uint64(1) << (p.VirtBits() - 1)
		if len(got.all) != 2 || got.problems != nil || got.all[0].Size() != half || got.all[1].Size() != half ||
			got.all[1].First.VA != p.KernelHalf() || got.all[1].End() != 0 || got.all[0].Accessed != half>>12 {
			t.Errorf("%d levels: ranges %+v, problems %v", levels, got.all, got.problems)
		}
	}
}

// TestBombOfDifferentPages: where no range can be merged, the walk ends at its bound, and memory does not grow.
func TestBombOfDifferentPages(t *testing.T) {
	for _, levels := range []int{4, 5} {
		m, root := dagBomb(levels, func(m *pttree.Mem, f x86.PFN) {
			for i := range m.At(f) {
				m.At(f)[i] = 0x5025 | uint64(i%2)<<1
			}
		})
		p := x86.DefaultPaging(levels)
		s := capturetest.TreeOf(m, root, x86.Linux7_2(), p)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c := &rangeCounter{}
		if err := Walk(s, tree.Filter{}, nil, c); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20 {
			t.Errorf("%d levels: %d bytes allocated", levels, allocated)
		}
		if c.problems == 0 || c.runs == 0 || c.bytes != 1<<p.VirtBits() {
			t.Errorf("%d levels: %d ranges and %d problems cover %#x bytes", levels, c.runs, c.problems, c.bytes)
		}
	}
}

// rangeCounter counts what it gets and the bytes that it covers.
type rangeCounter struct {
	runs, problems int
	bytes          uint64
}

func (c *rangeCounter) Run(r *Run) error          { c.runs++; c.bytes += r.Size(); return nil }
func (c *rangeCounter) Marker(linux.Marker) error { return nil }
func (c *rangeCounter) Problem(p *pgtable.Problem) error {
	c.problems++
	c.bytes += p.Size
	if !errors.Is(p.Err, pgtable.ErrAliased) {
		return p.Err
	}
	return nil
}

// TestProblemEndsARun: what cannot be explained stands between the ranges before and behind it.
func TestProblemEndsARun(t *testing.T) {
	m := pttree.New(0x100)
	root := m.Table()
	for i := range x86.Virt(3 * 512) {
		m.Map(root, 4, i<<12, x86.LevelPTE, uint64(i)<<12|0x25, x86.PageTable)
	}
	pmd := x86.Phys(m.At(x86.Phys(m.At(root)[0]).PFN())[0]).PFN()
	m.At(pmd)[1] = 0xdead000 | x86.PageTable
	var order []string
	sink := &orderSink{&order}
	if err := Walk(capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4)), tree.Filter{}, nil, sink); err != nil {
		t.Fatal(err)
	}
	want := []string{"run 0x0000000000000000", "problem 0x0000000000200000", "run 0x0000000000400000"}
	if !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

type orderSink struct{ order *[]string }

func (o *orderSink) Run(r *Run) error {
	*o.order = append(*o.order, "run "+r.First.VA.String())
	return nil
}
func (o *orderSink) Marker(linux.Marker) error { return nil }
func (o *orderSink) Problem(p *pgtable.Problem) error {
	*o.order = append(*o.order, "problem "+p.VA.String())
	return nil
}

// sharedTables is a tree of 64 GiB in which every gigabyte is the same PMD table, which reaches one PTE table with
// different rights, and a frame that cannot be read.
func sharedTables() *tree.Tree {
	m := pttree.New(0x100)
	root, pud, pmd, pte, other, twin := m.Table(), m.Table(), m.Table(), m.Table(), m.Table(), m.Table()
	m.At(root)[0] = uint64(pud.Phys()) | x86.PageTable
	for i := range 64 {
		m.At(pud)[i] = uint64(pmd.Phys()) | x86.PageTable
	}
	for i := range 8 {
		e := uint64(pte.Phys()) | x86.PageTable
		switch i % 3 {
		case 1:
			e &^= x86.PageRW
		case 2:
			e |= x86.PageNX
		}
		m.At(pmd)[i] = e
	}
	m.At(pmd)[9] = uint64(other.Phys()) | x86.PageTable
	m.At(pmd)[10] = 0xdead000 | x86.PageTable
	m.At(pmd)[11] = uint64(other.Phys()) | x86.PageTable
	for _, i := range []int{12, 13, 15} { // first met twice in a row, then behind a hole
		m.At(pmd)[i] = uint64(twin.Phys()) | x86.PageTable
	}
	m.Fill(twin, 0x7065)
	for i := range 512 {
		m.At(pte)[i] = uint64(i/8+1)<<12 | 0x27
		m.At(other)[i] = uint64(i+1)<<12 | 0x27
	}
	m.At(pte)[14], m.At(pte)[15] = 0, 0
	return capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4))
}

// TestReuseOfSharedTables: see sharedTables.
func TestReuseOfSharedTables(t *testing.T) {
	s := sharedTables()
	markers := []linux.Marker{{Name: "a"}, {Addr: 3<<30 + 0x20e000, Name: "b"}, {Addr: 6<<30 + 0x300000, Name: "c"}}
	var entries capturetest.Leaves
	if err := s.Walk(tree.Filter{}, &entries); err != nil {
		t.Fatal(err)
	}
	for _, everything := range []bool{true, false} {
		var got ranges
		if err := walk(s, tree.Filter{}, markers, &got, everything); err != nil {
			t.Fatal(err)
		}
		sameRuns(t, got.all, naiveRuns(s.ABI, markers, entries.All), fmt.Sprintf("everything %v", everything))
		if len(got.problems) != 64 || len(entries.Problems) != 64 {
			t.Errorf("%d and %d problems, want one for each gigabyte", len(got.problems), len(entries.Problems))
		}
	}
}

// TestShadowStackIsAMeaning: where the processor has shadow stacks, a read-only page with D is one.
func TestShadowStackIsAMeaning(t *testing.T) {
	for _, c := range []struct {
		kernel x86.Kernel
		shstk  bool
		want   int
	}{{x86.Linux7_2(), true, 2}, {x86.Linux7_2(), false, 1}, {x86.Linux6_1(), true, 1}} {
		m := pttree.New(0x100)
		root := m.Table()
		m.Map(root, 4, 0x1000, x86.LevelPTE, 0x1025, x86.PageTable)
		m.Map(root, 4, 0x2000, x86.LevelPTE, 0x2065, x86.PageTable)
		p := x86.DefaultPaging(4)
		p.ShadowStack = c.shstk
		var got ranges
		if err := Walk(capturetest.TreeOf(m, root, c.kernel, p), tree.Filter{}, nil, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.all) != c.want {
			t.Errorf("%s, shadow stacks %v: %d ranges, want %d", c.kernel.Release, c.shstk, len(got.all), c.want)
		}
	}
}

// TestReservedFrameBitsDivide: a page whose frame the processor refuses has no rights, and is not one with the page
// before it.
func TestReservedFrameBitsDivide(t *testing.T) {
	m := pttree.New(0x100)
	root := m.Table()
	m.Map(root, 4, 0x1000, x86.LevelPTE, 0xfffffff025, x86.PageTable)
	m.Map(root, 4, 0x2000, x86.LevelPTE, 0x10000000025, x86.PageTable)
	p := x86.DefaultPaging(4)
	p.PhysBits = 40
	var got ranges
	if err := Walk(capturetest.TreeOf(m, root, x86.Linux7_2(), p), tree.Filter{}, nil, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.all) != 2 || !got.all[0].First.Rights.R || got.all[1].First.Rights.R {
		t.Errorf("%+v", got.all)
	}
}
