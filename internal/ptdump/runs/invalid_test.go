package runs

import (
	"bytes"
	"context"
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
		if user := r.First.VA>>63 == 0; r.First.Invalid != user {
			t.Errorf("%v: invalid %v", r.First.VA, r.First.Invalid)
		}
	}
}
