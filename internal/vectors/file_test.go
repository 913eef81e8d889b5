package vectors

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

const header = `# A file for tests
# kernel-version 6.12.107
# config CONFIG_DEVICE_PRIVATE=0
# config CONFIG_RANDOMIZE_BASE=0
# sme-mask 0x0
# cc-mask 0x0
# boot-cpu-phys-bits 40
# paging-levels-active 4
# supported-pte-mask 0xffffffffffffffff
# bug-l1tf 1
# feature-pti 0
`

func runText(t *testing.T, text string) (*Result, error) {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(&buf)
	if err != nil {
		t.Fatal(err)
	}
	return Run(r)
}

// TestFileErrors: a file that cannot be trusted is an error, not a shorter test.
func TestFileErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no end line":    {header + "pte_young\t0x20\t0x1\n", "line 12: unexpected EOF: no end line"},
		"empty":          {"", "no end line"},
		"wrong count":    {header + "pte_young\t0x20\t0x1\n# end vectors=2 functions=1\n", "line 13: the end line counts 2"},
		"wrong names":    {header + "pte_young\t0x20\t0x1\n# end vectors=1 functions=2\n", "of 2 functions"},
		"after the end":  {header + "# end vectors=0 functions=0\npte_young\t0x20\t0x1\n", "line 13: text after"},
		"no number":      {header + "pte_young\t0x20\tyes\n", "line 12: want function, inputs, output"},
		"no fields":      {header + "pte_young\n", "line 12: want function"},
		"empty line":     {header + "\n", "line 12: want function"},
		"many inputs":    {header + "pte_young\t1\t2\t3\t4\t5\n", "more than 3 inputs"},
		"no kernel":      {"pte_young\t0x20\t0x1\n", "line 1: configuration"},
		"a guest of TDX": {strings.Replace(header, "cc-mask 0x0", "cc-mask 0x8000000000000", 1) + "pte_young\t0x20\t0x1\n", "cc-mask"},
		"with KASLR":     {strings.Replace(header, "BASE=0", "BASE=1", 1) + "pte_young\t0x20\t0x1\n", "RANDOMIZE"},
		"unknown kernel": {strings.Replace(header, "6.12.107", "5.4.1", 1) + "pte_young\t0x20\t0x1\n", "5.4"},
	} {
		if _, err := runText(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

// TestDifferences: a wrong result, an unknown function, constant or number of inputs each show, and repeated ones
// are counted rather than listed.
func TestDifferences(t *testing.T) {
	many := strings.Repeat("pte_old\t0x20\t0x1\n", maxReports+5)
	res, err := runText(t, header+
		"pte_young\t0x20\t0x1\npte_young\t0x40\t0x1\nconst\tPAGE_SHIFT\t0xd\nconst\tSECTION_SIZE_BITS\t0x1\n"+
		"const\tNO_SUCH\t0x1\npte_dirty\t0x1\t0x2\t0x1\n"+many+"# end vectors=31 functions=4\n")
	if err != nil {
		t.Fatal(err)
	}
	if res.Checks != 3 || res.Functions != 4 || res.Unmapped["SECTION_SIZE_BITS"] != 1 {
		t.Errorf("%+v", res)
	}
	for i, want := range []string{
		"line 13: pte_young 0x40: want 0x1: got 0x0",
		"line 14: const PAGE_SHIFT: want 0xd: got 0xc",
		"line 16: const NO_SUCH: want 0x1: unknown constant",
		"line 17: pte_dirty 0x1 0x2: want 0x1: 2 inputs, want 1",
		"line 18: pte_old 0x20: want 0x1: unknown function",
	} {
		if res.Differences[i] != want {
			t.Errorf("difference %d: %q, want %q", i, res.Differences[i], want)
		}
	}
	if n := len(res.Differences); n != 4+maxReports {
		t.Errorf("%d differences listed", n)
	}
	if n := res.Wrong["pte_old"]; n != maxReports+5 {
		t.Errorf("%d differences counted", n)
	}
}

// TestConfig: the comments decide the layout of the entries.
func TestConfig(t *testing.T) {
	res, err := runText(t, header+"const\tMAX_SWAPFILES\t0x1b\nconst\tSWP_PFN_BITS\t0x22\n"+
		"const\tswapfile_maximum_size\t0x400000000\n# end vectors=3 functions=1\n")
	if err != nil || len(res.Differences) != 0 {
		t.Errorf("%v %v", err, res.Differences)
	}
	five := strings.NewReplacer("DEVICE_PRIVATE=0", "DEVICE_PRIVATE=1", "active 4", "active 5", "l1tf 1", "l1tf 0").Replace(header)
	res, err = runText(t, five+"const\tMAX_SWAPFILES\t0x17\nconst\tSWP_PFN_BITS\t0x28\n"+
		"const\tswapfile_maximum_size\t0x4000000000000\n# end vectors=3 functions=1\n")
	if err != nil || len(res.Differences) != 0 {
		t.Errorf("%v %v", err, res.Differences)
	}
}
