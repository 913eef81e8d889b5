package swapentry

import (
	"testing"

	"ptemu/arch/x86"
)

// BenchmarkDecode decodes the worked entries, one of each kind.
func BenchmarkDecode(b *testing.B) {
	l := layoutOf(b, "7.2P", 4)
	n := 0
	for b.Loop() {
		for i := range worked {
			e := l.Decode(x86.LevelPTE, worked[i].raw)
			n += int(e.Type)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(worked)), "ns/entry")
	_ = n
}
