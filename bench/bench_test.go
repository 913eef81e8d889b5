package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"ptemu/arch/x86"
)

var large = flag.Bool("bench.large", false, "benchmarks also on 128 MiB and 1 GiB of tables")

// TestMain forks for the kernel's variant, if that is what this process is for.
func TestMain(m *testing.M) {
	if served, err := ServeForks(); served {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// fewPTEs keeps the kernel's variants short: most of their time is to get the memory.
const fewPTEs = 1 << 16

// Benchmark runs every variant of every case, as case/size/order/variant. Variants that are to be compared should be
// compared by bench/report, which interleaves them.
func Benchmark(b *testing.B) {
	for _, size := range Sizes() {
		if size > 8<<20 && !*large {
			continue
		}
		for _, order := range []Order{Contiguous, Shuffled} {
			s, err := NewSet(x86.Linux6_12(), size, order)
			if err != nil {
				b.Fatal(err)
			}
			if !*large {
				s.KernelPTEs = fewPTEs
			}
			for _, c := range Cases() {
				if c.Fits(size) && (order == Contiguous || c.Shuffled) {
					b.Run(fmt.Sprintf("%s/%s/%s", c.Name, SizeName(size), order), func(b *testing.B) { c.benchmark(b, s) })
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func (c *Case) benchmark(b *testing.B, s *Set) {
	all, err := c.Prepare(s)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := done(all); err != nil {
			b.Error(err)
		}
	}()
	for _, v := range all {
		b.Run(v.Name, func(b *testing.B) { v.benchmark(b, c) })
	}
}

func (v *Variant) benchmark(b *testing.B, c *Case) {
	if v.Skip != "" {
		b.Skip(v.Skip)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := run{Result: Result{Variant: *v}, c: c}
	if err := r.warmUp(0); err != nil {
		b.Fatal(err)
	}
	if r.Skip != "" {
		b.Skip(r.Skip)
	}
	defer r.enter()()
	clock, cost := r.clockOf()
	b.ReportAllocs()
	var sum time.Duration
	passes := 0
	for b.Loop() {
		t, err := r.passes(1, clock, cost)
		if err != nil {
			b.Fatal(err)
		}
		sum += t
		passes += c.timed()
	}
	b.ReportMetric(float64(sum.Nanoseconds())/float64(passes)/float64(v.PTEs), "ns/PTE")
}
