package who

import (
	"strings"
	"testing"

	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/space"
)

// TestWhoInWindows: a capture that has more mappings than are held at a time gives the same.
func TestWhoInWindows(t *testing.T) {
	m := capturetest.Workers(80, 8, 1)
	path := m.Write(t, 0)
	in, spaces := m.Open(t, path)
	run := func(most int64) string {
		var out strings.Builder
		s := &Search{Tree: in.Tree, Spaces: spaces, UserOnly: true, Workers: space.Workers{Jobs: 1}, Tally: &entries.Tally{}, most: most}
		if err := s.EveryFrame(t.Context(), Output{W: &out, Format: "text", Min: 1}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	all := run(0)
	if n := strings.Count(all, "\n"); n < 2*extentChunk {
		t.Errorf("%d lines: too few to need windows", n)
	}
	if some := run(extentChunk); some != all {
		t.Errorf("in windows: %d bytes, else %d, or they differ", len(some), len(all))
	}
}
