//go:build linux && amd64 && !purego

package pgtable_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/internal/ptescan/floor"
	"ptemu/internal/ptescan/hostmem"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

var (
	measure       = flag.Bool("measure", false, "run the measurements of whole changes against bare kernels and the floor")
	measureCase   = flag.String("measure.case", "", "only cases whose name contains this")
	measureRounds = flag.Int("measure.rounds", 9, "interleaved rounds")
	measureTime   = flag.Duration("measure.time", 10*time.Millisecond, "time for each variant in a round")
)

// timed is one way to do something: run does it once, odd undoes what even did.
type timed struct {
	name string
	run  func(odd int)
}

// report interleaves the variants, and prints nanoseconds for each of the units that a run consists of: median, and the
// quartiles in brackets, and the ratio to the first.
func report(name string, clock func() time.Duration, units int, variants ...timed) {
	if !strings.Contains(name, *measureCase) {
		return
	}
	ns, runs := make([][]float64, len(variants)), make([]int, len(variants))
	for i, v := range variants {
		v.run(0)
		v.run(1)
		start := clock()
		v.run(0)
		v.run(1)
		runs[i] = 1 + int(*measureTime/max(clock()-start, 1))
	}
	for range *measureRounds {
		for i, v := range variants {
			start := clock()
			for range runs[i] {
				v.run(0)
				v.run(1)
			}
			ns[i] = append(ns[i], float64(clock()-start)/float64(2*runs[i]*units))
		}
	}
	first := 0.0
	for i, v := range variants {
		slices.Sort(ns[i])
		n := len(ns[i])
		if i == 0 {
			first = ns[0][n/2]
		}
		fmt.Printf("%-30s %-12s %8.3f ns [%.3f %.3f] x first %.2f\n", name, v.name, ns[i][n/2], ns[i][n/4], ns[i][3*n/4], ns[i][n/2]/first)
	}
}

// scattered is mapped, with the PTE tables in the order of their addresses or in any.
func scattered(t *testing.T, l *swapentry.Layout, tables int, shuffle bool) (*pgtable.Tree, pgtable.Range) {
	ram, err := physmem.NewRAM(0, uint64(tables)+2048)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ram.Close() })
	tree, err := pgtable.New(ram, l.ABI())
	if err != nil {
		t.Fatal(err)
	}
	order := make([]int, tables)
	for i := range order {
		order[i] = i
	}
	if shuffle {
		rand.New(rand.NewPCG(1, 1)).Shuffle(tables, func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, i := range order {
		first := x86.Virt(1<<30 + i<<21)
		if err := tree.Map(pgtable.Range{First: first, Last: first + 1<<21 - 1}, x86.PFN(0x100000+i*512), rw); err != nil {
			t.Fatal(err)
		}
	}
	return tree, pgtable.Range{First: 1 << 30, Last: 1<<30 + x86.Virt(tables)<<21 - 1}
}

func tablesOf(t *testing.T, tree *pgtable.Tree, r pgtable.Range) []*ptescan.Table {
	var all []*ptescan.Table
	for va := r.First; va < r.Last; va += 1 << 21 {
		c, err := tree.LockPTEs(va, false)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, (*ptescan.Table)(c.Table()))
		c.Unlock()
	}
	return all
}

func changes(t *testing.T, l *swapentry.Layout, folios pgtable.Folios) [2]*pgtable.Protection {
	var p [2]*pgtable.Protection
	for i, prot := range []x86.Prot{ro, rw} {
		var err error
		p[i], err = pgtable.NewProtection(l.ABI(), pgtable.ProtectionArgs{
			Prot: prot, Swap: l.Change(0, swapentry.BackingAnon, false), Anonymous: true, Pages: yes{}, Folios: folios,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func mustChange(t *testing.T, tree *pgtable.Tree, g *pgtable.Gather, r pgtable.Range, p *pgtable.Protection) {
	g.Start(tree, nil)
	n, err := tree.ChangeProtection(g, r, p)
	if err != nil || n != int64(r.Last-r.First+1)/x86.PageSize {
		t.Fatal(n, err)
	}
	if err := g.Finish(); err != nil {
		t.Fatal(err)
	}
}

func TestMeasureProtection(t *testing.T) {
	if !*measure {
		t.Skip("a measurement: ask for it with -measure, pinned and on a quiet machine")
	}
	runtime.LockOSThread()
	l := layoutFor(x86.Linux6_12())
	p := changes(t, l, nil)
	bare := [2]ptescan.Change{}
	for i, prot := range []x86.Prot{ro, rw} {
		s := l.Change(0, swapentry.BackingAnon, false)
		bare[i] = ptescan.NewChange(l.ABI().Change(prot, 0), &s, ptescan.Exclusive{})
	}
	for _, size := range []struct {
		name    string
		tables  int
		shuffle bool
	}{{"L2", 64, false}, {"L3", 2048, false}, {"DRAM", 1 << 17, false}, {"DRAM shuffled", 1 << 17, true}} {
		if !strings.Contains("whole "+size.name, *measureCase) {
			continue
		}
		tree, r := scattered(t, l, size.tables, size.shuffle)
		all := tablesOf(t, tree, r)
		var g pgtable.Gather
		var changed ptescan.Changed
		report("whole "+size.name, hostmem.ThreadTime, size.tables*512,
			timed{"floor", func(odd int) {
				for i, t := range all {
					floor.XorAVX512Prefetch(t, uint64(x86.PageRW), all[min(i+1, len(all)-1)])
				}
			}},
			timed{"bare", func(odd int) {
				for i, t := range all {
					bare[odd].Apply(t, 0, 511, nil, all[min(i+1, len(all)-1)], &changed)
				}
			}},
			timed{"root", func(odd int) { mustChange(t, tree, &g, r, p[odd]) }},
		)
	}
}

// TestMeasureSmall changes a few pages at random places: each operation anew from the root.
func TestMeasureSmall(t *testing.T) {
	if !*measure {
		t.Skip("a measurement: ask for it with -measure, pinned and on a quiet machine")
	}
	runtime.LockOSThread()
	l := layoutFor(x86.Linux6_12())
	p := changes(t, l, nil)
	for _, tables := range []int{64, 512, 4096} {
		tree, r := scattered(t, l, tables, false)
		for _, n := range []int{1, 2, 8, 9, 64, 512} {
			rnd := rand.New(rand.NewPCG(1, 2))
			// No two of them touch, so that each changes all of its pages.
			const most = 4096
			stride := max(8, min(2*n, 512))
			var at []x86.Virt
			for _, i := range rnd.Perm(tables * 512 / stride) {
				if at = append(at, r.First+x86.Virt(i*stride+min(5, stride-n))<<12); len(at) == most {
					break
				}
			}
			var g pgtable.Gather
			report(fmt.Sprintf("small %d of %d tables", n, tables), hostmem.ThreadTime, len(at),
				timed{"root", func(odd int) {
					for _, va := range at {
						mustChange(t, tree, &g, pgtable.Range{First: va, Last: va + x86.Virt(n)<<12 - 1}, p[odd])
					}
				}},
				timed{"gather", func(odd int) {
					for range at {
						g.Start(tree, nil)
						if g.Finish() != nil {
							t.Fatal()
						}
					}
				}},
				timed{"lock", func(odd int) {
					for _, va := range at {
						c, err := tree.LockPTEs(va, false)
						if err != nil {
							t.Fatal(err)
						}
						c.Unlock()
					}
				}},
			)
		}
	}
}

// TestMeasureTwo compares one goroutine with two on halves of one tree.
func TestMeasureTwo(t *testing.T) {
	if !*measure {
		t.Skip("a measurement: ask for it with -measure, on a quiet machine")
	}
	l := layoutFor(x86.Linux6_12())
	begin := time.Now()
	clock := func() time.Duration { return time.Since(begin) }
	for _, tables := range []int{64, 2048, 1 << 17} {
		tree, r := scattered(t, l, tables, false)
		half := x86.Virt(tables) << 20
		parts := [2]pgtable.Range{{First: r.First, Last: r.First + half - 1}, {First: r.First + half, Last: r.Last}}
		g := new([2]struct {
			pgtable.Gather
			_ [128]byte
		})
		shared := changes(t, l, nil)
		laps := max(8, 1<<18/tables) // long enough for the system to give each a processor
		report(fmt.Sprintf("two %d tables", tables), clock, laps*tables*512,
			timed{"one", func(odd int) {
				for i := range 2 * laps {
					mustChange(t, tree, &g[0].Gather, parts[i/laps], shared[(odd+i)%2])
				}
			}},
			timed{"two", func(odd int) {
				var wg sync.WaitGroup
				for n := range 2 {
					wg.Go(func() {
						for i := range laps {
							mustChange(t, tree, &g[n].Gather, parts[n], shared[(odd+i)%2])
						}
					})
				}
				wg.Wait()
			}},
		)
	}
}

// TestMeasureFolios compares areas with and without large folios.
func TestMeasureFolios(t *testing.T) {
	if !*measure {
		t.Skip("a measurement: ask for it with -measure, pinned and on a quiet machine")
	}
	runtime.LockOSThread()
	l := layoutFor(x86.Linux7_2())
	without, with := changes(t, l, nil), changes(t, l, bigFolios(16))
	for _, tables := range []int{64, 2048} {
		tree, r := scattered(t, l, tables, false)
		var g pgtable.Gather
		report(fmt.Sprintf("folios %d tables", tables), hostmem.ThreadTime, tables*512,
			timed{"without", func(odd int) { mustChange(t, tree, &g, r, without[odd]) }},
			timed{"with", func(odd int) { mustChange(t, tree, &g, r, with[odd]) }},
		)
	}
}
