package proc

import (
	"context"
	"testing"
)

// BenchmarkFind finds the processes of a whole capture: symbols, types, lists and areas.
func BenchmarkFind(b *testing.B) {
	for _, dir := range wholeCaptures {
		b.Run(dir, func(b *testing.B) {
			m := openMachine(b, sharedCapture(b, dir, "full.kdump-zlib"))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Find(context.Background(), m.Mem, m.sys, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
