package main

import (
	"fmt"
	"slices"

	"ptemu/bench"
)

// metric is what a goal is about.
type metric uint8

const (
	timesFloor  metric = iota // at most so many times the floor
	perOp                     // at most so many nanoseconds for an operation
	perBreak                  // and for a break of a run
	overKernel                // at least so many times faster than the running kernel
	overZero                  // and than it is with the zero page
	overScalar                // and than the plain loop
	overOne                   // two goroutines at least so many times faster than one
	allocations               // at most so many, in any case
)

// goal is what was aimed at, for each level.
type goal struct {
	what         string
	name, size   string
	order        bench.Order
	metric       metric
	avx512, avx2 float64
}

// The sizes that stand for caches and memory.
const (
	inL2   = "256KiB"
	inL3   = "8MiB"
	beyond = "128MiB"
	inDRAM = "1GiB"
)

// goals is the table of what was aimed at.
func goals() []goal {
	const c, s = bench.Contiguous, bench.Shuffled
	return []goal{
		{"dense, simple change, L2", bench.CaseDense, inL2, c, timesFloor, 1.05, 1.3},
		{"dense, simple change, L3", bench.CaseDense, inL3, c, timesFloor, 1.05, 1.3},
		{"dense, simple change, 128 MiB", bench.CaseDense, beyond, c, timesFloor, 1.05, 1.5},
		{"dense, simple change, DRAM", bench.CaseDense, inDRAM, c, timesFloor, 1.05, 1.5},
		{"dense, simple change, DRAM shuffled", bench.CaseDense, inDRAM, s, timesFloor, 1.10, 1.5},
		{"every 8th entry present, L2", bench.CaseEvery8, inL2, c, timesFloor, 1.25, 2},
		{"every 8th entry present, DRAM", bench.CaseEvery8, inDRAM, c, timesFloor, 1.1, 2},
		{"1 in 8 of another kind, unchanged, L2", bench.CaseSwapKept, inL2, c, timesFloor, 1.4, 3},
		{"1 in 8 of another kind, rewritten, L2", bench.CaseSwapChanged, inL2, c, timesFloor, 1.7, 4},
		{"write candidates, frames in order, L2", bench.CaseCandidates, inL2, c, timesFloor, 1.4, 2.5},
		{"write candidates, random frames, L2", bench.CaseScattered, inL2, c, timesFloor, 3.5, 6},
		{"nothing changes, L2", bench.CaseNothing, inL2, c, timesFloor, 1.5, 2},
		{"nothing changes, DRAM", bench.CaseNothing, inDRAM, c, timesFloor, 1.5, 2},
		{"one page at a random place", bench.CaseOnePage, inL2, c, perOp, 30, 30},
		{"8 pages at a random place", bench.Case8Pages, inL2, c, perOp, 40, 40},
		{"against the kernel's mprotect, L2", bench.CaseDense, inL2, c, overKernel, 100, 80},
		{"against the kernel's mprotect, DRAM", bench.CaseDense, inDRAM, c, overKernel, 40, 30},
		{"the same with the zero page, DRAM", bench.CaseDense, inDRAM, c, overZero, 40, 30},
		{"against the plain Go loop, L2", bench.CaseDense, inL2, c, overScalar, 10, 8},
		{"two goroutines against one, L3", bench.CaseTwo, inL3, c, overOne, 1.8, 1.8},
		{"two goroutines against one, DRAM", bench.CaseTwo, inDRAM, c, overOne, 1.8, 1.8},
		{"fork copy, tables there, L2", bench.CaseFork, inL2, c, timesFloor, 1.25, 1.5},
		{"fork copy, tables there, 128 MiB", bench.CaseFork, beyond, c, timesFloor, 1.25, 1.5},
		{"fork copy, new tables, L2", bench.CaseForkNew, inL2, c, timesFloor, 1.25, 1.5},
		{"fork copy, new tables, 128 MiB", bench.CaseForkNew, beyond, c, timesFloor, 1.25, 1.5},
		{"scan with runs, uniform, L2", bench.CaseRuns, inL2, c, timesFloor, 1.15, 1.5},
		{"scan with runs, uniform, DRAM", bench.CaseRuns, inDRAM, c, timesFloor, 1.15, 1.5},
		{"scan, each break of runs of 64, L2", bench.CaseRuns64, inL2, c, perBreak, 6, 8},
		{"scan, each break of runs of 16, L2", bench.CaseRuns16, inL2, c, perBreak, 6, 8},
		{"allocations per operation", "", "", "", allocations, 0, 0},
	}
}

// aimedAt reports that a goal is about the case on the largest tables.
func aimedAt(name string, order bench.Order) bool {
	return slices.ContainsFunc(goals(), func(g goal) bool { return g.name == name && g.size == inDRAM && g.order == order })
}

// atLeast says in which direction better is.
func (m metric) atLeast() bool {
	return m == overKernel || m == overZero || m == overScalar || m == overOne
}

// unit is what stands behind a figure.
func (m metric) unit() string {
	switch m {
	case timesFloor:
		return "x floor"
	case perOp, perBreak:
		return "ns"
	case allocations:
		return ""
	}
	return "x"
}

// target returns what was aimed at, for a level.
func (g *goal) target(level string) float64 {
	if level == "avx512" {
		return g.avx512
	}
	return g.avx2
}

// find returns the row of a variant.
func find(rows []bench.Row, g *goal, variant string) (r bench.Row, ok bool) {
	for _, r := range rows {
		if r.Name == g.name && r.Size == g.size && r.Order == g.order && r.Variant == variant && r.Skipped == "" {
			return r, true
		}
	}
	return r, false
}

// measured returns what a goal's figure is; false if it was not measured.
func (g *goal) measured(rows []bench.Row, level string) (float64, bool) {
	if g.metric == allocations {
		most, _, ok := mostAllocations(rows, level)
		return most, ok
	}
	r, ok := find(rows, g, level)
	if !ok {
		return 0, false
	}
	x := 0.0
	switch g.metric {
	case timesFloor:
		x = r.RatioFloor
	case perOp:
		x = r.NsPerOp
	case perBreak:
		x = r.NsPerBreak
	case overKernel:
		x = r.RatioKernel
	case overZero:
		x = best(rows, r, bench.KernelZero) / r.NsPerPTE
	case overScalar:
		x = r.RatioScalar
	case overOne:
		two, ok := find(rows, g, level+" two")
		if !ok {
			return 0, false
		}
		x = r.NsPerPTE / two.NsPerPTE
	}
	return x, x != 0
}

// mostAllocations returns the most allocations of any operation and what undoes it, and which it is. A new tree is one,
// and does not count.
func mostAllocations(rows []bench.Row, level string) (most float64, name string, ok bool) {
	for _, r := range rows {
		if r.Kind != bench.Ours || r.Level != level || r.Skipped != "" || r.Name == bench.CaseForkNew {
			continue
		}
		if ok = true; r.Allocs > most {
			most, name = r.Allocs, r.Name
		}
	}
	return most, name, ok
}

// met reports whether x is good enough.
func (g *goal) met(x float64, level string) bool {
	if g.metric.atLeast() {
		return x >= g.target(level)
	}
	return x <= g.target(level)
}

// reach prints for each goal and level what was measured and whether that is enough.
func (p *printer) reach(r *Report) {
	lines := [][]string{{"", "level", "measured", "target", "result"}}
	met, all := 0, 0
	for _, g := range goals() {
		for _, level := range vectorLevels(r.Rows) {
			sign := "<="
			if g.metric.atLeast() {
				sign = ">="
			}
			line := []string{g.what, level, "-", fmt.Sprintf("%s %g %s", sign, g.target(level), g.metric.unit()), "not measured"}
			if _, name, _ := mostAllocations(r.Rows, level); g.metric == allocations && name != "" {
				line[0] += " (" + name + ")"
			}
			if x, ok := g.measured(r.Rows, level); ok {
				all++
				line[2], line[4] = fmt.Sprintf("%.2f", x), "missed"
				if g.met(x, level) {
					met++
					line[4] = "met"
				}
			}
			lines = append(lines, line)
		}
	}
	if len(lines) == 1 {
		return
	}
	p.heading("Reach")
	p.table(lines)
	p.printf("\n%d of %d met.\n", met, all)
}

// vectorLevels returns the levels with goals that the rows have.
func vectorLevels(rows []bench.Row) (levels []string) {
	for _, l := range []string{"avx512", "avx2"} {
		if _, _, ok := mostAllocations(rows, l); ok {
			levels = append(levels, l)
		}
	}
	return levels
}
