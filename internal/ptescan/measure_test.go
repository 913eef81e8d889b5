//go:build linux && amd64 && !purego

package ptescan

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"ptemu/internal/ptescan/hostmem"
)

var (
	measure       = flag.Bool("measure", false, "run TestMeasure, which times the kernels against the floor")
	measureCase   = flag.String("measure.case", "", "only cases whose name contains this")
	measureSize   = flag.String("measure.size", "", "only sizes whose name contains this")
	measureRounds = flag.Int("measure.rounds", 9, "interleaved rounds")
	measureTime   = flag.Duration("measure.time", 10*time.Millisecond, "time for each variant in a round")
)

// variant is one way to do a case: step changes one table. odd tells passes apart, so that each can undo the last.
type variant struct {
	name string
	step func(t, next *Table, odd int)
}

// timing is one case on tables of one kind.
type timing struct {
	name     string
	fill     func(i int, t *Table)
	variants []variant
}

type workingSet struct {
	name    string
	bytes   int
	shuffle bool
}

var workingSets = []workingSet{
	{"L1", 32 << 10, false}, {"L2", 256 << 10, false}, {"L3", 8 << 20, false}, {"DRAM", 512 << 20, false}, {"DRAM-shuffled", 512 << 20, true},
}

// TestMeasure prints nanoseconds for each entry of every case, working set and variant: median, and the quartiles in
// brackets. It asserts nothing.
func TestMeasure(t *testing.T) {
	if !*measure {
		t.Skip("a measurement: ask for it with -measure, pinned and on a quiet machine")
	}
	runtime.LockOSThread()
	load, _ := os.ReadFile("/proc/loadavg")
	t.Logf("level %v, %d rounds of %v each, load %s", level, *measureRounds, *measureTime, strings.TrimSpace(string(load)))
	for _, ws := range workingSets {
		if !strings.Contains(ws.name, *measureSize) {
			continue
		}
		tables := hostmem.Tables(t, ws.bytes/4096)
		order := make([]*Table, len(tables))
		for i := range tables {
			order[i] = &tables[i]
		}
		if ws.shuffle {
			rand.New(rand.NewPCG(1, 1)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		}
		for _, c := range timings() {
			if !strings.Contains(c.name, *measureCase) {
				continue
			}
			for i := range tables {
				c.fill(i, &tables[i])
			}
			report(c, ws, timeCase(c, order))
		}
	}
}

// timeCase returns the times of each variant, in rounds.
func timeCase(c timing, order []*Table) [][]float64 {
	ns := make([][]float64, len(c.variants))
	pass := func(v *variant) {
		for odd := range 2 {
			for i, t := range order {
				v.step(t, order[min(i+1, len(order)-1)], odd)
			}
		}
	}
	passes := make([]int, len(c.variants))
	for i := range c.variants {
		start := hostmem.ThreadTime()
		pass(&c.variants[i])
		pass(&c.variants[i])
		passes[i] = 1 + int(2**measureTime/max(hostmem.ThreadTime()-start, 1))
	}
	for range *measureRounds {
		for i := range c.variants {
			start := hostmem.ThreadTime()
			for range passes[i] {
				pass(&c.variants[i])
			}
			ns[i] = append(ns[i], float64(hostmem.ThreadTime()-start)/float64(passes[i]*2*len(order)*512))
		}
	}
	return ns
}

// report prints a line for each variant; those whose name begins with "floor" are what the others are compared to.
func report(c timing, ws workingSet, ns [][]float64) {
	floor := 0.0
	for i, v := range c.variants {
		slices.Sort(ns[i])
		if m := ns[i][len(ns[i])/2]; strings.HasPrefix(v.name, "floor") && (floor == 0 || m < floor) {
			floor = m
		}
	}
	for i, v := range c.variants {
		n := len(ns[i])
		fmt.Printf("%-34s %-13s %-18s %7.3f ns/PTE [%.3f %.3f]  x floor %.2f\n", c.name, ws.name, v.name, ns[i][n/2],
			ns[i][n/4], ns[i][3*n/4], ns[i][n/2]/floor)
	}
}
