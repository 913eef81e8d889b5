package bench

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
)

// scans read all tables and find where attributes change, as ptdump does.
func scans() []Case {
	all := []Case{scanCase(CaseRuns, 0, kernelCall{op: opPagemapScan})}
	for _, n := range []int{64, 16, 4} {
		all = append(all, scanCase(fmt.Sprintf("scan, runs of %d", n), n, noCall("runs are not those of PAGEMAP_SCAN")))
	}
	return all
}

func scanCase(name string, n int, k kernelCall) Case {
	c := Case{Name: name, Floor: FloorRead, Breaks: n, fill: runsOf(n)}
	c.make = func(s *Set) ([]Variant, error) {
		p := s.ABI().Runs(0, false)
		all, err := atLevels(s, func() (func(int) (int64, error), error) {
			return func(int) (int64, error) { return s.breaks(&p), nil }, nil
		})
		if err != nil {
			return nil, err
		}
		all = append(s.floors(c.Floor), all...)
		plain := func(int) (int64, error) { return scalarRuns(p, s.Tables), nil }
		return append(all, Variant{Name: "scalar", Kind: Scalar, PTEs: s.PTEs(), Pass: plain}, s.kernel(k)), nil
	}
	return c
}

// breaks visits every break and returns how many there are.
func (s *Set) breaks(p *x86.PTERuns) (n int64) {
	var b ptescan.Bitmap
	var prev, length, at uint64
	for _, t := range s.Tables {
		if ptescan.Breaks(p, (*ptescan.Table)(t), prev, &b) {
			for i := range b.All() {
				length, at = max(length, uint64(i)-at), uint64(i)
				n++
			}
		}
		prev = t[len(t)-1]
	}
	sink |= length
	return n
}
