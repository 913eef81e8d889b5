package ptdump

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/usage"
)

// TestWhoIsWalk: what who says is what a plain walk finds, entry by entry.
func TestWhoIsWalk(t *testing.T) {
	for seed := range uint64(30) {
		m := capturetest.Town(rand.New(rand.NewPCG(seed, 1)))
		path := m.Write(t, 0)
		_, spaces := m.Open(t, path)
		type place struct {
			pid    int
			va     x86.Virt
			kind   tree.Kind
			level  x86.Level
			rights tree.Rights
			number uint64
		}
		want, times := map[string]int{}, map[uint64]uint64{}
		for _, s := range spaces.User {
			var l capturetest.Leaves
			if err := s.Walk(s.UserHalf(), &l); err != nil {
				t.Fatal(err)
			}
			pid := s.Procs[0].PID
			for _, e := range l.All {
				for i := range e.Level.Size() / x86.PageSize {
					number := uint64(e.PFN) + i
					if e.Kind == tree.KindSwap {
						number = e.Swap.Offset + i
					} else if !e.HasPFN {
						continue
					}
					if e.IsPage() {
						times[number]++
					}
					p := place{pid, e.VA + x86.Virt(i)*x86.PageSize, e.Kind, e.Level, e.Rights, number}
					want[fmt.Sprint(p)]++
				}
			}
		}
		got := map[string]int{}
		_, stdout, stderr := runOn(t, m, "who", "--user", "--format", "jsonl", path, "pfn:0-0x100000000", "--swap", "0:0-0x1000000000000")
		for _, o := range jsonLines(t, stdout) {
			if o["va"] == nil || o["kind"] == "table" || o["kind"] == "root" {
				continue
			}
			va, err := usage.Hex("", o["va"].(string))
			if err != nil {
				t.Fatal(err)
			}
			number, _ := o["pfn"].(float64)
			if s, ok := o["swap"].(map[string]any); ok && o["kind"] == "swap" {
				number = s["offset"].(float64)
			}
			r := o["rights"].(map[string]any)
			level := map[string]x86.Level{"pte": x86.LevelPTE, "pmd": x86.LevelPMD}[o["level"].(string)]
			for i := range uint64(o["size"].(float64)) / x86.PageSize {
				p := place{
					int(o["pid"].(float64)), x86.Virt(va + i*x86.PageSize), tree.Kind(o["kind"].(string)), level,
					tree.Rights{R: r["r"].(bool), W: r["w"].(bool), X: r["x"].(bool), U: r["u"].(bool)}, uint64(number) + i,
				}
				got[fmt.Sprint(p)]++
			}
		}
		if !maps.Equal(got, want) || len(want) == 0 {
			t.Errorf("seed %d: who has %d places, a walk finds %d, or they differ\n%s", seed, len(got), len(want), stderr)
		}
		counted := map[uint64]uint64{}
		_, stdout, _ = runOn(t, m, "who", "--all", "--user", "--format", "jsonl", path)
		for _, o := range jsonLines(t, stdout) {
			for i := range uint64(o["frames"].(float64)) {
				if n := uint64(o["user"].(float64)); n > 0 {
					counted[uint64(o["pfn"].(float64))+i] = n
				}
			}
		}
		if !maps.Equal(counted, times) {
			t.Errorf("seed %d: who --all has %d frames, a walk finds %d, or they differ", seed, len(counted), len(times))
		}
	}
}
