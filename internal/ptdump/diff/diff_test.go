package diff

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/linux/proc"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Entries as Linux 6.12 writes them, by hand: frame 0x12345, user, accessed.
const (
	pageRO       = 0x8000000012345025
	pageRW       = 0x8000000012345867 // soft-dirty is bit 11
	pageRWMoved  = 0x8000000012346867
	pageClean    = 0x8000000012345827
	pageSoft     = 0x8000000012345825
	pageUffd     = 0x8000000012345425 // uffd-wp is bit 10
	pageProtnone = 0x800fffffedcba920 | 1<<5
	pageOld      = 0x8000000012345005
	pageKey      = 0xa000000012345025
	pageExec     = 0x0000000012345025
	swapA        = 0x07ffffffffdb9600 // type 0
	swapB        = 0x07ffffffffdb9400
	uffdMarker   = 0xfffffffffffff600 // as in Samples
)

// diffCase is an entry before and after, and what it is called.
var diffCases = []struct {
	name          string
	before, after uint64
	want          string
}{
	{"same", pageRW, pageRW, ""},
	{"became writable and was written", pageRO, pageRW, "became-writable,soft-dirty,dirtied"},
	{"protected by userfaultfd", pageRW, pageUffd, "write-protected,uffd-wp,no-soft-dirty,cleaned"},
	{"uffd-wp resolved", pageUffd, pageRO, "no-uffd-wp"},
	{"cleared", pageRW, 0, "unmapped"},
	{"new", 0, pageRW, "mapped"},
	{"another frame", pageRW, pageRWMoved, "moved"},
	{"cleaned", pageRW, pageClean, "cleaned"},
	{"soft-dirty cleared", pageSoft, pageRO, "no-soft-dirty"},
	{"aged", pageRO, pageOld, "aged"},
	{"key", pageRO, pageKey, "pkey"},
	{"executable", pageRO, pageExec, "became-executable"},
	{"swapped out", pageRO, swapA, "swapped-out"},
	{"swapped in", swapA, pageOld, "swapped-in"},
	{"another slot", swapA, swapB, "swap-moved"},
}

// diffABI is the kernel of diffCases.
var diffABI = x86.MustABI(x86.Linux6_12(), x86.DefaultPaging(4))

func diffSession(m *pttree.Mem, root x86.PFN) *tree.Tree {
	return &tree.Tree{Mem: m, ABI: diffABI, Layout: swapentry.NewLayout(diffABI), Root: root.Phys()}
}

func diffsOf(t *testing.T, a, b *tree.Tree, ignore change) []string {
	t.Helper()
	var got []string
	last := x86.Virt(0)
	err := diffTrees(a, b, tree.Filter{}, ignore, func(d *difference) error {
		if d.VA < last {
			t.Errorf("%v after %v", d.VA, last)
		}
		last = d.VA
		if d.Problem != nil {
			got = append(got, fmt.Sprintf("%v+%#x problem", d.VA, d.Size))
			return nil
		}
		got = append(got, fmt.Sprintf("%v+%#x %s", d.VA, d.Size, strings.Join(d.Changes.names(), ",")))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDiffEntries(t *testing.T) {
	const va x86.Virt = 0x7f0000000000
	for _, c := range diffCases {
		t.Run(c.name, func(t *testing.T) {
			build := func(e uint64) *tree.Tree {
				m := pttree.New(0x1000)
				root := m.Table()
				m.Map(root, 4, va, x86.LevelPTE, pageRO, capturetest.UserTable) // so that there is a table
				m.Map(root, 4, va+5*x86.PageSize, x86.LevelPTE, e, capturetest.UserTable)
				return diffSession(m, root)
			}
			var want []string
			if c.want != "" {
				want = []string{fmt.Sprintf("%v+0x1000 %s", va+5*x86.PageSize, c.want)}
			}
			if got := diffsOf(t, build(c.before), build(c.after), 0); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestDiffTakenOut: what the kernel takes out of its own mapping is not swapped out.
func TestDiffTakenOut(t *testing.T) {
	const va x86.Virt = 0xffff888006721000
	build := func(e uint64) *tree.Tree {
		m := pttree.New(0x1000)
		root := m.Table()
		m.Map(root, 4, va-x86.PageSize, x86.LevelPTE, 0x8000000006720163, capturetest.KernelTable)
		m.Map(root, 4, va, x86.LevelPTE, e, capturetest.KernelTable)
		return diffSession(m, root)
	}
	const mapped, out, outRead = 0x8000000006721163, 0x800ffffff98de062, 0x800ffffff98de020
	for _, c := range []struct {
		before, after uint64
		want          string
	}{
		{mapped, out, "taken-out"}, {out, mapped, "put-back"}, {0, out, "taken-out"}, {out, 0, "unmapped"}, {outRead, out, "dirtied"},
		{mapped, out ^ 1<<12, "moved,taken-out"},
	} {
		want := []string{fmt.Sprintf("%v+0x1000 %s", va, c.want)}
		if got := diffsOf(t, build(c.before), build(c.after), 0); !slices.Equal(got, want) {
			t.Errorf("%#x to %#x: %q, want %q", c.before, c.after, got, want)
		}
	}
}

// TestDiffEvents: a process that came or went is a change like others, named process.
func TestDiffEvents(t *testing.T) {
	here := func(e uint64) *space.Space {
		m := pttree.New(0x1000)
		root := m.Table()
		m.Map(root, 4, 0x7f0000000000, x86.LevelPTE, e, capturetest.UserTable)
		return &space.Space{Tree: diffSession(m, root)}
	}
	pairs := []Pair{
		{Before: here(pageRO), After: here(pageRW), Process: &proc.Process{PID: 1, Comm: "init"}},
		{Process: &proc.Process{PID: 103, Comm: "cat"}, Event: "new"},
	}
	for _, c := range []struct {
		only, ignore string
		pairs        []Pair
		want         string // what is in the output, comma-separated
		changed      bool
	}{
		{"", "", pairs, "became-writable,process 103 (cat): new", true},
		{"moved", "", pairs, "", false},
		{"became-writable", "", pairs, "became-writable", true},
		{"process", "", pairs, "process 103 (cat): new", true},
		{"moved,process", "", pairs, "process 103 (cat): new", true},
		{"", "process", pairs, "became-writable", true},
		{"", "process", pairs[1:], "", false},
		{"became-writable", "", pairs[1:], "", false},
	} {
		var opt Options
		for _, f := range []struct {
			to    *change
			names string
		}{{&opt.Only, c.only}, {&opt.Ignore, c.ignore}} {
			if f.names == "" {
				continue
			}
			var err error
			if *f.to, err = ParseChanges("only", strings.Split(f.names, ",")); err != nil {
				t.Fatal(err)
			}
		}
		opt.Filters = []tree.Filter{{Last: 1<<47 - 1}}
		for _, format := range []string{"text", "jsonl"} {
			var out bytes.Buffer
			changed, err := Write(t.Context(), Output{W: &out, Format: format}, c.pairs, opt, space.Workers{Jobs: 1})
			if err != nil || changed != c.changed || (out.Len() > 0) != c.changed {
				t.Errorf("only %q, ignore %q: %v, %v, wrote %s", c.only, c.ignore, changed, err, &out)
			}
			for _, word := range strings.Split(c.want, ",") {
				if format == "text" && !strings.Contains(out.String(), word) {
					t.Errorf("only %q, ignore %q: no %q in\n%s", c.only, c.ignore, word, &out)
				}
			}
		}
	}
}

// TestDiffShapes: pages that split, collapse, lose a part, and tables that only one capture has.
func TestDiffShapes(t *testing.T) {
	const va x86.Virt = 0x7f0000200000
	const huge = 0x80000000400008e7 // frame 0x40000, writable, dirty, soft-dirty, PSE
	treeOf := func(fill func(m *pttree.Mem, root x86.PFN)) *tree.Tree {
		m := pttree.New(0x1000)
		root := m.Table()
		m.Map(root, 4, 0x7e0000000000, x86.LevelPTE, pageRO, capturetest.UserTable)
		fill(m, root)
		return diffSession(m, root)
	}
	whole := treeOf(func(m *pttree.Mem, root x86.PFN) { m.Map(root, 4, va, x86.LevelPMD, huge, capturetest.UserTable) })
	pages := func(first, n int) *tree.Tree {
		return treeOf(func(m *pttree.Mem, root x86.PFN) {
			for i := first; i < first+n; i++ {
				m.Map(root, 4, va+x86.Virt(i)*x86.PageSize, x86.LevelPTE, 0x8000000040000867+uint64(i)*x86.PageSize, capturetest.UserTable)
			}
		})
	}
	count := func(got []string, words string) (n int) {
		for _, g := range got {
			if strings.HasSuffix(g, " "+words) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		name          string
		before, after *tree.Tree
		want          map[string]int
	}{
		{"split", whole, pages(0, 512), map[string]int{"split": 512}},
		{"collapsed", pages(0, 512), whole, map[string]int{"collapsed": 512}},
		{"split and a part unmapped", whole, pages(0, 500), map[string]int{"split": 500, "unmapped,split": 12}},
		{"gone", pages(3, 7), treeOf(func(*pttree.Mem, x86.PFN) {}), map[string]int{"unmapped": 7}},
		{"huge gone", whole, treeOf(func(*pttree.Mem, x86.PFN) {}), map[string]int{"unmapped": 1}},
		{"table new", treeOf(func(*pttree.Mem, x86.PFN) {}), pages(3, 7), map[string]int{"mapped": 7}},
		{"rights of a level", pages(0, 4), treeOf(func(m *pttree.Mem, root x86.PFN) {
			for i := range 4 {
				m.Map(root, 4, va+x86.Virt(i)*x86.PageSize, x86.LevelPTE, 0x8000000040000867+uint64(i)*x86.PageSize, capturetest.UserTable&^x86.PageRW)
			}
		}), map[string]int{"write-protected": 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := diffsOf(t, c.before, c.after, 0)
			n := 0
			for words, want := range c.want {
				n += want
				if have := count(got, words); have != want {
					t.Errorf("%d are %s, want %d: %q", have, words, want, got[:min(2, len(got))])
				}
			}
			if len(got) != n {
				t.Errorf("%d differences, want %d: %q", len(got), n, got[:min(2, len(got))])
			}
		})
	}
	if got := diffsOf(t, whole, pages(0, 512), changeSplit); got != nil {
		t.Errorf("ignored changes: %q", got[:1])
	}
}

// TestDiffMerge: neighbours that changed alike become one, across no gap and no problem.
func TestDiffMerge(t *testing.T) {
	var s spaceDiff
	page := tree.Leaf{Kind: tree.KindPresent, Rights: tree.Rights{R: true}}
	none := tree.Leaf{Kind: tree.KindNone}
	for _, d := range []difference{
		{VA: 0x1000, Size: 0x1000, Entries: 1, Changes: changeMapped, Before: none, After: page},
		{VA: 0x2000, Size: 0x1000, Entries: 1, Changes: changeMapped, Before: none, After: page},
		{VA: 0x4000, Size: 0x1000, Entries: 1, Changes: changeMapped, Before: none, After: page},
		{VA: 0x5000, Size: 0x1000, Entries: 1, Changes: changeDirty, Before: page, After: page},
		{VA: 0x6000, Size: 0x200000, Problem: pgtable.ErrLoop},
		{VA: 0x206000, Size: 0x1000, Entries: 1, Changes: changeDirty, Before: page, After: page},
	} {
		s.count(&d)
		s.merge(&d)
	}
	var got []string
	for _, d := range s.Differences {
		got = append(got, fmt.Sprintf("%#x+%#x %d", uint64(d.VA), d.Size, d.Entries))
	}
	want := []string{"0x1000+0x2000 2", "0x4000+0x1000 1", "0x5000+0x1000 1", "0x6000+0x200000 0", "0x206000+0x1000 1"}
	if !slices.Equal(got, want) || s.Entries != 5 {
		t.Errorf("%q, %d entries", got, s.Entries)
	}
}
