package runs

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/pttree"
	"ptemu/swapentry"
)

// TestInvalidSlotOfL1TF: a slot beyond what a processor with the L1 terminal fault may be shown is invalid there only.
func TestInvalidSlotOfL1TF(t *testing.T) {
	for _, l1tf := range []bool{false, true} {
		p := x86.DefaultPaging(4)
		p.L1TF, p.CacheBits = l1tf, 36
		m := pttree.New(0x100)
		root := m.Table()
		m.Map(root, 4, 0x1000, x86.LevelPTE, uint64(swapentry.MkSwp(0, 1<<40).PTE()), capturetest.UserTable)
		m.Map(root, 4, 0x2000, x86.LevelPTE, uint64(swapentry.MkSwp(0, 1<<20).PTE()), capturetest.UserTable)
		s := capturetest.TreeOf(m, root, x86.Linux7_2(), p)
		var got capturetest.Leaves
		if err := s.Walk(tree.Filter{}, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.All) != 2 || got.All[0].Invalid != l1tf || got.All[1].Invalid {
			t.Errorf("L1TF %v: %+v", l1tf, got.All)
		}
		// What is invalid is no part of a range that is not.
		var runs ranges
		if err := Walk(s, tree.Filter{}, nil, &runs); err != nil {
			t.Fatal(err)
		}
		want := 1
		if l1tf {
			want = 2
		}
		if len(runs.all) != want {
			t.Errorf("L1TF %v: %+v", l1tf, runs.all)
		}
		var out bytes.Buffer
		w := entries.NewWriter(context.Background(), &out, entries.NewFormat("jsonl", s.ABI, report.Palette{}))
		if err := w.Leaf(&got.All[0]); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil || strings.Contains(out.String(), `"invalid":"impossible offset: slot 0x10000000000 of `) != l1tf {
			t.Errorf("L1TF %v: %v, %s", l1tf, err, out.String())
		}
	}
}

// TestInvalidInOneHalf: a table that both halves share is judged in each of them, however often it is reached.
func TestInvalidInOneHalf(t *testing.T) {
	m := pttree.New(0x100)
	root, pud, pmd, pte := m.Table(), m.Table(), m.Table(), m.Table()
	m.At(root)[0], m.At(root)[256] = uint64(pud.Phys())|capturetest.UserTable, uint64(pud.Phys())|capturetest.UserTable
	m.At(pud)[0] = uint64(pmd.Phys()) | capturetest.UserTable
	for i := range 4 {
		m.At(pmd)[i] = uint64(pte.Phys()) | capturetest.UserTable
	}
	m.At(pte)[5] = 0x07fffffffffffe00 // slot 0
	s := capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4))
	var got ranges
	if err := Walk(s, tree.Filter{}, nil, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.all) != 8 {
		t.Fatalf("%d ranges, want 8", len(got.all))
	}
	for _, r := range got.all {
		kind, user := tree.KindUnknown, r.First.VA>>63 == 0
		if user {
			kind = tree.KindSwap
		}
		if r.First.Invalid != user || r.First.Kind != kind {
			t.Errorf("%v: invalid %v, %v", r.First.VA, r.First.Invalid, r.First.Kind)
		}
	}
}

// TestTakenOutRuns: pages that the kernel took out of its mapping merge like pages, by table and across tables, and the text
// says which frames they are; equal frames are said to be so.
func TestTakenOutRuns(t *testing.T) {
	m := pttree.New(0x1000)
	root := m.Table()
	kernel := func(va x86.Virt, l x86.Level, e uint64) { m.Map(root, 4, va, l, e, capturetest.KernelTable) }
	out := func(pfn x86.PFN, flags uint64) uint64 { return ^uint64(pfn.Phys())&(1<<52-x86.PageSize) | flags }
	const base = 0xffff888000000000
	for i := range x86.PFN(4) { // over the border of two tables
		kernel(base+0x1fe000+x86.Virt(i.Phys()), x86.LevelPTE, out(0x100+i, x86.PageRW|x86.PageAccessed|x86.PageNX))
	}
	for i, pfn := range []x86.PFN{0x300, 0x305, 0x302} {
		kernel(base+0x204000+x86.Virt(i)*x86.PageSize, x86.LevelPTE, out(pfn, x86.PageDirty|x86.PageNX))
	}
	for i := range x86.PFN(3) {
		kernel(base+0x40000000+x86.Virt(i.Phys())*512, x86.LevelPMD, out(0x40000+512*i, x86.PageRW))
	}
	for i := range x86.PFN(32) {
		kernel(0xfffffe0000001000+x86.Virt(i.Phys()), x86.LevelPTE, 0x000ffffffffff120)
	}
	for i := range x86.PFN(2) { // the last frame, of which processes cannot have pages without P
		kernel(0xfffffe0000100000+x86.Virt(i.Phys()), x86.LevelPTE, x86.PageProtnone)
	}
	s := capturetest.TreeOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4))
	var b bytes.Buffer
	w := NewWriter(t.Context(), &b, NewFormat("text", s.ABI, report.Palette{}))
	if err := errors.Join(Walk(s, tree.Filter{}, nil, w), w.Close()); err != nil {
		t.Fatal(err)
	}
	want := `0xffff8880001fe000-0xffff888000202000    16K  pte  ----  unknown   pfn 0x100-0x103, not present   RW NX accessed
0xffff888000204000-0xffff888000207000    12K  pte  ----  unknown   pfn 0x300, not present, scattered NX dirty
0xffff888040000000-0xffff888040600000     6M  pmd  ----  unknown   pfn 0x40000-0x405ff, not present RW
0xfffffe0000001000-0xfffffe0000021000   128K  pte  ----  protnone  pfn 0x0 each, not present      PROTNONE accessed
0xfffffe0000100000-0xfffffe0000102000     8K  pte  ----  protnone  pfn 0xffffffffff each, not present PROTNONE
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}
