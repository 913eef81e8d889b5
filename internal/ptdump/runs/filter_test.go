package runs

import (
	"fmt"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/where"
	"ptemu/internal/pttree"
	"ptemu/linux"
)

// kasanTables is how a kernel with KASAN maps the shadow of what it does not use: many entries of the root lead to one
// table, all entries of that to the next, and all last entries map one page, read-only. Below lie a swap entry
// and a writable page, above another writable page.
func kasanTables(levels int) *tree.Tree {
	m := pttree.New(0x100)
	root, next := m.Table(), m.Table()
	m.Fill(next, 0x8000000000050121)
	for range levels - 2 {
		upper := m.Table()
		m.Fill(upper, uint64(next.Phys())|capturetest.KernelTable)
		next = upper
	}
	for i := 472; i < 504; i++ {
		m.At(root)[i] = uint64(next.Phys()) | capturetest.KernelTable
	}
	m.Map(root, levels, 0x1000, x86.LevelPTE, 0x07fffffffffffc00, capturetest.UserTable)
	m.Map(root, levels, 0x5000, x86.LevelPTE, 0x8000000000060067, capturetest.UserTable)
	m.Map(root, levels, ^x86.Virt(0xfff), x86.LevelPTE, 0x8000000000061163, capturetest.KernelTable)
	return capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(levels))
}

// TestFilterOverSharedTables: a filter finds what there is in a healthy tree of shared tables, without a problem.
func TestFilterOverSharedTables(t *testing.T) {
	top := ^x86.Virt(0xfff)
	for _, levels := range []int{4, 5} {
		s := kasanTables(levels)
		for expr, want := range map[string][]x86.Virt{
			"w": {0x5000, top}, "swap": {0x1000}, "u": {0x5000}, "pfn==0x61": {top}, "x": nil, "guard": nil,
		} {
			where, err := where.Parse(expr)
			if err != nil {
				t.Fatal(err)
			}
			f := tree.Filter{Match: where.Compile(s.ABI), MatchReadsVA: where.ReadsVA()}
			what := fmt.Sprintf("%d levels, %s", levels, expr)
			var entries capturetest.Leaves
			var runs ranges
			if err := s.Walk(f, &entries); err != nil {
				t.Fatal(err)
			}
			if err := Walk(s, f, nil, &runs); err != nil {
				t.Fatal(err)
			}
			if entries.Problems != nil || runs.problems != nil {
				t.Errorf("%s: problems %v and %v", what, entries.Problems, runs.problems)
			}
			var vas []x86.Virt
			for _, l := range entries.All {
				vas = append(vas, l.VA)
			}
			if !slices.Equal(vas, want) {
				t.Errorf("%s: entries at %v, want %v", what, vas, want)
			}
			sameRuns(t, runs.all, naiveRuns(s.ABI, nil, entries.All), what)
		}
		// What matches everywhere is one range.
		var runs ranges
		if err := Walk(s, tree.Filter{Match: func(l *tree.Leaf) bool { return l.PFN == 0x50 }}, nil, &runs); err != nil {
			t.Fatal(err)
		}
		if len(runs.all) != 1 || runs.problems != nil || runs.all[0].Size() != 32*s.ABI.Paging().Root().Size() {
			t.Errorf("%d levels: ranges %+v, problems %v", levels, runs.all, runs.problems)
		}
	}
}

// TestFilterAndReuse: with a filter, ranges are the matching leaves merged, whether or not results are used twice; also
// if the filter asks for the address.
func TestFilterAndReuse(t *testing.T) {
	s := sharedTables()
	markers := []linux.Marker{{Name: "a"}, {Addr: 3<<30 + 0x20e000, Name: "b"}}
	for _, expr := range []string{
		"w", "!w", "x && pfn>20", "va>=0xc0000000 && va<0x100204000", "w && !(va<0x180000000)", "entry==0x104008", "raw==0x7065",
	} {
		where, err := where.Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		f := tree.Filter{Match: where.Compile(s.ABI), MatchReadsVA: where.ReadsVA()}
		var all, entries capturetest.Leaves
		if err := s.Walk(tree.Filter{}, &all); err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(all.All, func(l tree.Leaf) bool { return !f.Match(&l) })
		if err := s.Walk(f, &entries); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(entries.All, want) || len(want) == 0 {
			t.Errorf("%s: %d entries, want %d", expr, len(entries.All), len(want))
		}
		for _, everything := range []bool{true, f.MatchReadsVA} {
			var got ranges
			if err := walk(s, f, markers, &got, everything); err != nil {
				t.Fatal(err)
			}
			sameRuns(t, got.all, naiveRuns(s.ABI, markers, want), fmt.Sprintf("%s, everything %v", expr, everything))
		}
	}
}
