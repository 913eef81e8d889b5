package ptdump

import (
	"bytes"
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/internal/pttree"
	"ptemu/internal/truth"
	"ptemu/swapentry"
)

// invalidEntries are what no Linux 7.2 writes, and why, beside what it does write.
var invalidEntries = []struct {
	va    x86.Virt
	level x86.Level
	raw   uint64
	why   string
}{
	{0x7f0000000000, x86.LevelPTE, 0x07fffffffffffc00, ""},                        // swap 0:1
	{0x7f0000001000, x86.LevelPTE, 0x07fffffffffffe00, "slot 0"},                  // the header of the device
	{0x7f0000002000, x86.LevelPTE, 0x07fffffffffffc10, "reserved bits set: 0x10"}, // PCD has no meaning here
	{0x7f0000003000, x86.LevelPTE, 0xfffffffffffff600, ""},                        // guard
	{0x7f0000004000, x86.LevelPTE, 0xffffffffffff7e00, "unknown bits 0x40"},       // marker
	{0x7f0040000000, x86.LevelPMD, 0xfffffffffffffc00, ""},                        // uffd-wp, as hugetlbfs has it
	{0x7f0040200000, x86.LevelPMD, 0xfffffffffffff600, "marker in a pmd"},         // guard
	{0x7f0040400000, x86.LevelPMD, 0xc7fffffffdb97400, ""},                        // hwpoison, of hugetlbfs
	{0x7f0040600000, x86.LevelPMD, 0x07fffffffffffc00, "swap in a pmd"},
	{0xffffffff82000000, x86.LevelPMD, 0x800ffffff71ff062, ""}, // freed by the kernel after start: no swap form
}

func invalidCapture(t *testing.T) (path string, bad int) {
	t.Helper()
	m := pttree.New(0x1000)
	root := m.Table()
	for _, e := range invalidEntries {
		m.Map(root, 4, e.va, e.level, e.raw, userTable)
		if e.why != "" {
			bad++
		}
	}
	var b bytes.Buffer
	if err := elfcore.Write(&b, m, m.Ranges(), nil); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "invalid")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, bad
}

// TestInvalidEntries: an entry that no kernel writes says why, in every format, and is a finding; its neighbours are not.
func TestInvalidEntries(t *testing.T) {
	path, bad := invalidCapture(t)
	for _, cmd := range []string{"entries", "dump"} {
		args := []string{cmd, "--cr3", "0x1000000", "--levels", "4", "--kernel", "7.2", "--device-private", "on", "--format"}
		code, stdout, stderr := run(t, append(args, "jsonl", path)...)
		if code != exitFinding || !strings.Contains(stderr, "5 entries that no kernel writes") || bad != 5 {
			t.Errorf("%s: exit %d, %s", cmd, code, stderr)
		}
		objects := jsonLines(t, stdout)
		_, text, _ := run(t, append(args, "text", path)...)
		_, table, _ := run(t, append(args, "csv", path)...)
		rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
		if err != nil || len(rows) != len(invalidEntries)+1 || len(objects) != len(invalidEntries) {
			t.Fatalf("%s: %d rows, %d objects, %v", cmd, len(rows), len(objects), err)
		}
		column := len(rows[0]) - 2
		if rows[0][column] != "invalid" {
			t.Errorf("%s: columns %v", cmd, rows[0])
		}
		for i, e := range invalidEntries {
			why, _ := objects[i]["invalid"].(string)
			if (why == "") != (e.why == "") || !strings.Contains(why, e.why) || rows[i+1][column] != why {
				t.Errorf("%s of %#x: invalid is %q, in csv %q; want %q", cmd, e.raw, why, rows[i+1][column], e.why)
			}
			for line := range strings.Lines(text) {
				if !strings.HasPrefix(line, e.va.String()) {
					continue
				}
				if marked := strings.Contains(line, "invalid: "); marked != (why != "") || !strings.Contains(line, why) {
					t.Errorf("%s of %#x: %s", cmd, e.raw, line)
				}
			}
		}
	}
	_, stdout, _ := run(t, "translate", "--cr3", "0x1000000", "--levels", "4", "--kernel", "7.2", path, "7f0040200000", "7f0000003000")
	if strings.Count(stdout, "invalid: ") != 1 {
		t.Errorf("translate:\n%s", stdout)
	}
}

// TestInvalidSlotOfL1TF: a slot beyond what a processor with the L1 terminal fault may be shown is invalid there only.
func TestInvalidSlotOfL1TF(t *testing.T) {
	for _, l1tf := range []bool{false, true} {
		p := x86.DefaultPaging(4)
		p.L1TF, p.CacheBits = l1tf, 36
		m := pttree.New(0x100)
		root := m.Table()
		m.Map(root, 4, 0x1000, x86.LevelPTE, uint64(swapentry.MkSwp(0, 1<<40).PTE()), userTable)
		m.Map(root, 4, 0x2000, x86.LevelPTE, uint64(swapentry.MkSwp(0, 1<<20).PTE()), userTable)
		s := sessionOf(m, root, x86.Linux7_2(), p)
		var got leaves
		if err := s.Walk(Filter{}, &got); err != nil {
			t.Fatal(err)
		}
		if len(got.all) != 2 || got.all[0].Invalid != l1tf || got.all[1].Invalid {
			t.Errorf("L1TF %v: %+v", l1tf, got.all)
		}
		// What is invalid is no part of a range that is not.
		var runs ranges
		if err := s.Runs(Filter{}, nil, &runs); err != nil {
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
		w := newLeafWriter(context.Background(), &out, newJSONLeaves(s.ABI, false))
		if err := w.Leaf(&got.all[0]); err != nil {
			t.Fatal(err)
		}
		if err := w.close(); err != nil || strings.Contains(out.String(), `"invalid":"impossible offset: slot 0x10000000000 of `) != l1tf {
			t.Errorf("L1TF %v: %v, %s", l1tf, err, out.String())
		}
	}
}

// TestNoCaptureIsInvalid: whatever real kernels wrote is legal.
func TestNoCaptureIsInvalid(t *testing.T) {
	eachDump(t, func(t *testing.T, _ truth.Folder, s *Session) {
		var got leaves
		if err := s.Walk(Filter{Match: func(l *Leaf) bool { return l.Invalid }}, &got); err != nil {
			t.Fatal(err)
		}
		for _, l := range got.all[:min(3, len(got.all))] {
			t.Errorf("%v %v %#x: %v", l.VA, l.Level, l.Raw, s.Layout.Check(l.Level, l.Raw))
		}
	})
}

// TestInvalidInOneHalf: a table that both halves share is judged in each of them, however often it is reached.
func TestInvalidInOneHalf(t *testing.T) {
	m := pttree.New(0x100)
	root, pud, pmd, pte := m.Table(), m.Table(), m.Table(), m.Table()
	m.At(root)[0], m.At(root)[256] = uint64(pud.Phys())|userTable, uint64(pud.Phys())|userTable
	m.At(pud)[0] = uint64(pmd.Phys()) | userTable
	for i := range 4 {
		m.At(pmd)[i] = uint64(pte.Phys()) | userTable
	}
	m.At(pte)[5] = 0x07fffffffffffe00 // slot 0
	s := sessionOf(m, root, x86.Linux7_2(), x86.DefaultPaging(4))
	var got ranges
	if err := s.Runs(Filter{}, nil, &got); err != nil {
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
