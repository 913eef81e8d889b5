package ps

import (
	"fmt"
	"slices"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
)

// TestAreasDivideAStretch: neighbouring entries that look alike are counted in the areas that they lie in, and the others as
// strays.
func TestAreasDivideAStretch(t *testing.T) {
	m := capturetest.NewMachine()
	_, root := m.Process("p", capturetest.Area(0x400000, 0x402000, capturetest.VMRead), capturetest.Area(0x402000, 0x403000, capturetest.VMRead))
	for i := range x86.Virt(7) {
		m.User(root, 0x3ff000+i<<12, x86.LevelPTE, 0x8000000000100025+uint64(i)<<12)
	}
	_, spaces := m.Open(t, m.Write(t, 0))
	areas, err := AreasOf(t.Context(), spaces.User[0])
	if err != nil || areas.Problems != nil {
		t.Fatal(err, areas.Problems)
	}
	var got []string
	for _, l := range areas.Lines(spaces.Procs, 10) {
		got = append(got, fmt.Sprintf("%s %x-%x: %d", l.Kind, uint64(l.first), uint64(l.end), l.Resident))
	}
	want := []string{"stray 3ff000-400000: 1", "vma 400000-402000: 2", "vma 402000-403000: 1", "stray 403000-406000: 3"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
