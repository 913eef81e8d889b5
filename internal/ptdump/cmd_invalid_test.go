package ptdump

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture/elfcore"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/pttree"
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
	{0x7f0000005000, x86.LevelPTE, 0x0000000000000002, "stored as no bit"},        // one that flipped
	{0x7f0000006000, x86.LevelPTE, 0x0000000000000100, "frame 0xffffffffff"},      // likewise
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
		m.Map(root, 4, e.va, e.level, e.raw, capturetest.UserTable)
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
		if code != exitFinding || !strings.Contains(stderr, "7 entries that no kernel writes") || bad != 7 {
			t.Errorf("%s: exit %d, %s", cmd, code, stderr)
		}
		objects := jsonLines(t, stdout)
		_, text, _ := run(t, append(args, "text", path)...)
		_, table, _ := run(t, append(args, "csv", path)...)
		rows, err := csv.NewReader(strings.NewReader(table)).ReadAll()
		if err != nil || len(rows) != len(invalidEntries)+1 || len(objects) != len(invalidEntries) {
			t.Fatalf("%s: %d rows, %d objects, %v", cmd, len(rows), len(objects), err)
		}
		column := slices.Index(rows[0], "invalid")
		if column < 0 {
			t.Fatalf("%s: columns %v", cmd, rows[0])
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
