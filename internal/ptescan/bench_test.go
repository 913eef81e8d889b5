//go:build linux && amd64 && !purego

package ptescan

import (
	"testing"

	"ptemu/internal/ptescan/hostmem"
)

// BenchmarkKernels runs the cases of TestMeasure on tables that fit into the second-level cache. What needs ratios
// should use TestMeasure, which interleaves the variants.
func BenchmarkKernels(b *testing.B) {
	defer func(l Level) { level = l }(level)
	tables := hostmem.Tables(b, workingSets[1].bytes/4096)
	for _, c := range timings() {
		for i := range tables {
			c.fill(i, &tables[i])
		}
		for _, v := range c.variants {
			b.Run(c.name+"/"+v.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					for odd := range 2 {
						for i := range tables {
							v.step(&tables[i], nil, odd)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2*len(tables)*512), "ns/PTE")
			})
		}
	}
}
