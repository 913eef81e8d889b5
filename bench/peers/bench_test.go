//go:build linux && amd64

package peers

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/ring0/pagetables"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
)

var large = flag.Bool("large", false, "also measure 128 MiB of PTE tables")

// sizes returns how many bytes of PTE tables are measured.
func sizes() []uint64 {
	if *large {
		return []uint64{256 << 10, 8 << 20, 128 << 20}
	}
	return []uint64{256 << 10, 8 << 20}
}

// work is what one operation works on.
type work struct {
	span
	at []x86.Virt // pages at random places
}

// newWork returns the pages that fill this many bytes of PTE tables.
func newWork(bytes uint64) *work {
	w := &work{span: span{first: 1 << 30, pages: int(bytes / 8), frame: 0x100001}, at: make([]x86.Virt, 4096)}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range w.at {
		w.at[i] = w.page(rnd.IntN(w.pages))
	}
	return w
}

// operation is something that both sides can do.
type operation struct {
	name   string
	unit   string                // of what the time is given
	units  func(w *work) int     // that do does
	mapped bool                  // the pages are mapped, before and after; else they are not
	before func(w *work, s side) // not timed; may be nil
	do     func(w *work, s side) // timed
	after  func(w *work, s side) // not timed; may be nil
}

var operations = []operation{
	{
		name: "map", unit: "ns/PTE", units: (*work).everyPage,
		do:    func(w *work, s side) { s.mapAll(w.span, write) },
		after: func(w *work, s side) { s.unmap(w.span) },
	}, {
		name: "protect", unit: "ns/PTE", units: func(w *work) int { return 2 * w.pages }, mapped: true,
		do: func(w *work, s side) { s.protect(w.span, 0); s.protect(w.span, write) },
	}, {
		name: "unmap", unit: "ns/PTE", units: (*work).everyPage,
		before: func(w *work, s side) { s.mapAll(w.span, write) },
		do:     func(w *work, s side) { s.unmap(w.span) },
	}, {
		name: "lookup", unit: "ns/page", units: func(w *work) int { return len(w.at) }, mapped: true,
		do: func(w *work, s side) { s.lookups(w.at) },
	}, {
		name: "protectpage", unit: "ns/page", units: func(w *work) int { return 2 * len(w.at) }, mapped: true,
		do: func(w *work, s side) { s.protectPages(w.span, w.at, 0); s.protectPages(w.span, w.at, write) },
	}, {
		name: "setpage", unit: "ns/page", units: func(w *work) int { return 2 * len(w.at) }, mapped: true,
		do: func(w *work, s side) { s.setPages(w.span, w.at, 0); s.setPages(w.span, w.at, write) },
	},
}

func (w *work) everyPage() int { return w.pages }

// round does the operation once; timed is given the part that counts.
func (op *operation) round(w *work, s side, timed func(do func())) {
	if op.before != nil {
		op.before(w, s)
	}
	timed(func() { op.do(w, s) })
	if op.after != nil {
		op.after(w, s)
	}
}

// sides are the names of the two sides, in the order of x-faster.
var sides = [2]string{"ptemu", "gvisor"}

// newSide returns a side by its name, ready for the operation.
func (op *operation) newSide(b *testing.B, w *work, name string) side {
	var s side
	if name == sides[0] {
		s = newPtemu(b, uint64(w.pages)*8)
	} else {
		s = newGvisor(b, pagetables.NewRuntimeAllocator())
	}
	if op.mapped {
		s.mapAll(w.span, write)
	}
	op.round(w, s, func(do func()) { do() }) // memory is touched, pools are filled
	return s
}

// sample returns the mean time of a unit over at least d.
func (op *operation) sample(w *work, s side, d time.Duration) float64 {
	var total time.Duration
	n := 0
	for ; total < d; n++ {
		op.round(w, s, func(do func()) {
			start := time.Now()
			do()
			total += time.Since(start)
		})
	}
	return float64(total.Nanoseconds()) / float64(n) / float64(op.units(w))
}

func each(b *testing.B, f func(b *testing.B, op *operation, w *work)) {
	for i := range operations {
		for _, bytes := range sizes() {
			op := &operations[i]
			b.Run(fmt.Sprintf("op=%s/tables=%dKiB", op.name, bytes>>10), func(b *testing.B) { f(b, op, newWork(bytes)) })
		}
	}
}

// BenchmarkPeers measures each side by itself, for benchstat.
func BenchmarkPeers(b *testing.B) {
	each(b, func(b *testing.B, op *operation, w *work) {
		for _, name := range sides {
			b.Run("side="+name, func(b *testing.B) {
				s := op.newSide(b, w, name)
				var total time.Duration
				for b.Loop() {
					op.round(w, s, func(do func()) {
						start := time.Now()
						do()
						total += time.Since(start)
					})
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(float64(total.Nanoseconds())/float64(b.N)/float64(op.units(w)), op.unit)
			})
		}
	})
}

// BenchmarkRatio lets the sides take turns, at least seven rounds, so that what else the machine does meets both. A
// round is at least 10 ms of each. x-faster is the median of the rounds' quotients, min-x the smallest of them; the times
// are medians too.
func BenchmarkRatio(b *testing.B) {
	const rounds, turn = 7, 10 * time.Millisecond
	each(b, func(b *testing.B, op *operation, w *work) {
		both := [2]side{op.newSide(b, w, sides[0]), op.newSide(b, w, sides[1])}
		var times [2][]float64
		var ratios []float64
		round := func() {
			var t [2]float64
			for j := range both {
				i := (j + len(ratios)) % 2 // who begins alternates
				t[i] = op.sample(w, both[i], turn)
				times[i] = append(times[i], t[i])
			}
			ratios = append(ratios, t[1]/t[0])
		}
		for b.Loop() {
			round()
		}
		for len(ratios) < rounds {
			round()
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(times[0]), sides[0]+"-"+op.unit)
		b.ReportMetric(median(times[1]), sides[1]+"-"+op.unit)
		b.ReportMetric(median(ratios), "x-faster")
		b.ReportMetric(slices.Min(ratios), "min-x")
	})
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// BenchmarkTranslate translates as a processor does, with all its checks, over memory that is read frame by frame.
// gVisor has nothing like it.
func BenchmarkTranslate(b *testing.B) {
	for _, bytes := range sizes() {
		b.Run(fmt.Sprintf("tables=%dKiB", bytes>>10), func(b *testing.B) {
			w, p := newWork(bytes), newPtemu(b, bytes)
			p.mapAll(w.span, write)
			unit, mem := p.unit()
			for b.Loop() {
				for _, va := range w.at {
					walk := unit.Walk(mem, va)
					if _, err := walk.Translate(mmu.Access{Kind: mmu.Read, User: true}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(w.at)), "ns/page")
		})
	}
}
