package ptdump

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux/proc"
)

// randomTown is a machine whose processes have random entries of every kind, that name the frames below 0x1000.
func randomTown(rng *rand.Rand) *machineOf {
	m := newMachine()
	entry := func(l x86.Level) uint64 {
		frame := rng.Uint64N(0x1000)
		if l == x86.LevelPMD {
			frame &^= 511
		}
		flags := uint64(x86.PagePresent | x86.PageUser | x86.PageAccessed)
		for _, bit := range []uint64{x86.PageRW, x86.PageNX, x86.PageDirty, x86.PageSoftDirty, x86.PageUffdWP} {
			flags |= bit * rng.Uint64N(2)
		}
		if l == x86.LevelPMD {
			flags |= x86.PagePSE
		}
		switch rng.IntN(8) {
		case 0:
			flags = flags&^(x86.PagePresent|x86.PageUser) | x86.PageProtnone
			return ^frame<<12&(1<<52-1<<12) | flags
		case 1:
			return 0x07fffffffffffc00 - rng.Uint64N(64)<<9 | rng.Uint64N(8)<<1 // swap
		case 2:
			return 0xf7fffffffffffe00 - frame<<9 // migration, of 6.12
		case 3:
			return 0xfffffffffffffc00 // a marker
		}
		return frame<<12 | flags
	}
	for i := range 4 {
		_, root := m.process(fmt.Sprint(i))
		for range 40 {
			va := x86.Virt(rng.Uint64N(3)<<30 | rng.Uint64N(2)<<21 | rng.Uint64N(512)<<12)
			if rng.IntN(10) == 0 {
				m.user(root, 0x7f0000000000|va&^(1<<21-1), x86.LevelPMD, entry(x86.LevelPMD))
				continue
			}
			e := entry(x86.LevelPTE)
			for range 1 + rng.IntN(6) { // neighbours, at the next frames or at the same
				m.user(root, va, x86.LevelPTE, e)
				if va += 1 << 12; e&1 != 0 && rng.IntN(3) > 0 {
					e += 1 << 12
				}
			}
		}
	}
	return m
}

// TestWhoIsWalk: what who says is what a plain walk finds, entry by entry.
func TestWhoIsWalk(t *testing.T) {
	for seed := range uint64(30) {
		m := randomTown(rand.New(rand.NewPCG(seed, 1)))
		path := m.write(t, 0)
		in, err := openForProcesses(t.Context(), path, &machine{cpu: -1, root: rootNames[0], find: m.find})
		if err != nil {
			t.Fatal(err)
		}
		spaces, err := in.processes(t.Context(), proc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		type place struct {
			pid    int
			va     x86.Virt
			kind   Kind
			level  x86.Level
			rights Rights
			number uint64
		}
		want, times := map[string]int{}, map[uint64]uint64{}
		totals := map[int]*counts{}
		for _, s := range spaces.User {
			var l leaves
			if err := s.Walk(s.userHalf(), &l); err != nil {
				t.Fatal(err)
			}
			pid := s.Procs[0].PID
			totals[pid] = naiveCounts(l.all)
			for _, e := range l.all {
				for i := range e.Level.Size() / x86.PageSize {
					number := uint64(e.PFN) + i
					if e.Kind == KindSwap {
						number = e.Swap.Offset + i
					} else if !e.HasPFN {
						continue
					}
					if isPage(&e) {
						times[number]++
					}
					p := place{pid, e.VA + x86.Virt(i)*x86.PageSize, e.Kind, e.Level, e.Rights, number}
					want[fmt.Sprint(p)]++
				}
			}
		}
		got := map[string]int{}
		_, stdout, stderr := m.run(t, "who", "--user", "--format", "jsonl", path, "pfn:0-0x100000000", "--swap", "0:0-0x1000000000000")
		for _, o := range jsonLines(t, stdout) {
			if o["va"] == nil || o["kind"] == "table" || o["kind"] == "root" {
				continue
			}
			va, err := parseHex("", o["va"].(string))
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
					int(o["pid"].(float64)), x86.Virt(va + i*x86.PageSize), Kind(o["kind"].(string)), level,
					Rights{r["r"].(bool), r["w"].(bool), r["x"].(bool), r["u"].(bool)}, uint64(number) + i,
				}
				got[fmt.Sprint(p)]++
			}
		}
		if !maps.Equal(got, want) || len(want) == 0 {
			t.Errorf("seed %d: who has %d places, a walk finds %d, or they differ\n%s", seed, len(got), len(want), stderr)
		}
		counted := map[uint64]uint64{}
		_, stdout, _ = m.run(t, "who", "--all", "--user", "--format", "jsonl", path)
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
		for _, s := range spaces.User {
			c, err := s.count(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := totals[s.Procs[0].PID]; c.counts != *want {
				t.Errorf("seed %d: counted %+v, a walk finds %+v", seed, c.counts, *want)
			}
		}
		in.Close()
	}
}

// naiveCounts is what counts must come to, entry by entry, for 6.12.
func naiveCounts(all []Leaf) *counts {
	var c counts
	for i := range all {
		l := &all[i]
		n := l.Level.Size() / x86.PageSize
		when := func(on bool, to *uint64) {
			if on {
				*to += n
			}
		}
		page := isPage(l)
		flag := func(mask uint64) bool { return page && l.Raw&mask != 0 }
		when(page, &c.Resident)
		when(page && l.Level > x86.LevelPTE, &c.Huge)
		when(l.Rights.W, &c.Writable)
		when(l.Rights.X, &c.Executable)
		when(l.Kind == KindProtnone, &c.Protnone)
		when(flag(x86.PageUffdWP) || l.Swap.UffdWP || l.Kind == KindMarker && strings.Contains(l.Swap.Marker.String(), "uffd-wp"), &c.UffdWP)
		when(flag(x86.PageSoftDirty) || l.Swap.SoftDirty, &c.SoftDirty)
		when(flag(x86.PageDirty|x86.PageSoftW5), &c.Dirty)
		when(flag(x86.PageAccessed), &c.Accessed)
		when(flag(x86.PageSpecial), &c.Special)
		when(l.Kind == KindSwap, &c.Swapped)
		when(l.Kind == KindMigration, &c.Migration)
		when(l.Kind == KindMarker, &c.Markers)
		when(l.Kind == KindHWPoison, &c.HWPoison)
		when(l.Kind == KindDevicePrivate || l.Kind == KindDeviceExclusive, &c.Device)
		when(l.Kind == KindUnknown || l.Kind == KindSwapinError, &c.Other)
		if page && l.Level == x86.LevelPMD {
			c.HugePMD++
		}
		if page {
			c.rights.add(l.Rights)
		}
	}
	return &c
}

// TestWhoInWindows: a capture that has more mappings than are held at a time gives the same.
func TestWhoInWindows(t *testing.T) {
	m := manyProcesses(80, 8, 1)
	path := m.write(t, 0)
	run := func(most int64) string {
		var out, errs strings.Builder
		o := &options{stdout: &out, stderr: &errs, find: m.find, who: whoOptions{most: most}}
		if code := o.main(t.Context(), []string{"who", "--all", "--user", "--jobs", "1", path}); code != exitOK {
			t.Fatal(code, errs.String())
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
