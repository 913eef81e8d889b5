//go:build linux && amd64 && !purego

package ptescan

import (
	"fmt"
	"math/rand/v2"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// mixedTimings are the cases of tables like those of real processes: each entry was accessed or written to or not, by
// chance.
func mixedTimings() []timing {
	const rw = uint64(x86.ProtShared) &^ (x86.PageAccessed | x86.PageDirty)
	known := Exclusive{Bits: make([]uint64, 1<<22/64)}
	for i := range known.Bits {
		known.Bits[i] = ^uint64(0)
	}
	op := func(k x86.Kernel, prot x86.Prot, flags x86.ChangeFlags) *operation {
		l := swapentry.NewLayout(x86.MustABI(k, x86.DefaultPaging(4)))
		return &operation{layout: l, prot: prot, flags: flags, frames: known}
	}
	var all []timing
	for _, name := range []string{"6.1", "6.12"} {
		k, _ := x86.KernelNamed(name)
		for _, m := range []struct {
			name string
			bits []uint64
		}{
			{"mixed A", []uint64{x86.PageAccessed}},
			{"mixed D", []uint64{x86.PageDirty}},
			{"mixed A+D+SD", []uint64{x86.PageAccessed, x86.PageDirty, x86.PageSoftDirty}},
		} {
			fill := func(i int, t *Table) {
				r := rand.New(rand.NewPCG(uint64(i), 0))
				for j := range t {
					t[j] = entry(rw|spread(r.IntN(1<<len(m.bits)), m.bits), uint64(i*512+j))
				}
			}
			sparse := func(i int, t *Table) {
				fill(i, t)
				for j := range t {
					if j%8 != 0 {
						t[j] = 0
					}
				}
			}
			to := op(k, x86.ProtReadonly, 0)
			for _, back := range []struct {
				name string
				fill func(i int, t *Table)
				op   *operation
			}{
				{"RW-R-RW", fill, op(k, x86.ProtShared, 0)},
				{"every 8th RW-R-RW", sparse, op(k, x86.ProtShared, 0)},
				{"R-RW exclusive", fill, op(k, x86.ProtReadonly, x86.ChangeTryWritable)},
				{"R-RW shared", fill, op(k, x86.ProtReadonly, x86.ChangeTryWritable|x86.ChangeShared)},
			} {
				all = append(all, timing{fmt.Sprintf("%s %s %s", m.name, back.name, name), back.fill, changes(floorXor, to, back.op)})
			}
		}
	}
	return all
}
