package runs

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
)

// A fold stands for repetitions only: another distance, another bit, another region, or too few end it.
func TestFold(t *testing.T) {
	type at struct {
		va  x86.Virt
		raw uint64
	}
	line := func(va x86.Virt) string { return fmt.Sprintf("0x%016x", uint64(va)) }
	const page, other = 0x8000000000001025, 0x8000000000001027
	tests := []struct {
		name string
		in   []at
		want []string // starts of lines
	}{
		{"too few", []at{{0x0, page}, {0x10000, page}, {0x20000, page}, {0x30000, page}},
			[]string{line(0), line(0x10000), line(0x20000), line(0x30000)}},
		{"enough", []at{{0x0, page}, {0x10000, page}, {0x20000, page}, {0x30000, page}, {0x40000, page}},
			[]string{line(0), "  ... and 4 more like it, every 64K, the last at 0x0000000000040000"}},
		{"another distance", []at{{0x0, page}, {0x10000, page}, {0x20000, page}, {0x30000, page}, {0x40000, page}, {0x60000, page}, {0x80000, page}},
			[]string{line(0), "  ... and 4 more", line(0x60000), line(0x80000)}},
		{"another bit", []at{{0x0, page}, {0x10000, page}, {0x20000, other}, {0x30000, page}, {0x40000, page}},
			[]string{line(0), line(0x10000), line(0x20000), line(0x30000), line(0x40000)}},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		w := NewWriter(context.Background(), &out, newText(capturetest.ABI, report.Palette{}))
		for _, e := range tt.in {
			if err := w.Run(&Run{First: *capturetest.Leaf(e.va, x86.LevelPTE, e.raw, tree.Rights{R: true}), Count: 1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(got) != len(tt.want) {
			t.Errorf("%s:\n%s", tt.name, out.String())
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tt.want[i]) {
				t.Errorf("%s: line %d: %s, want %s", tt.name, i, got[i], tt.want[i])
			}
		}
	}
}

// The last byte of the address space has an end, too.
func TestRunAtTheTop(t *testing.T) {
	top := &Run{First: *capturetest.Leaf(0xfffffffffffff000, x86.LevelPTE, 0x8000000000001163, tree.Rights{R: true, W: true}), Count: 1}
	got := string(newText(capturetest.ABI, report.Palette{}).run(nil, top, ""))
	if !strings.HasPrefix(got, "0xfffffffffffff000-0x10000000000000000     4K") {
		t.Error(got)
	}
}
