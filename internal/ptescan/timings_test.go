//go:build linux && amd64 && !purego

package ptescan

import (
	"math/rand/v2"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan/floor"
	"ptemu/swapentry"
)

// atLevel makes a variant for every level.
func atLevel(suffix string, make func() func(t, next *Table, odd int)) []variant {
	defer func(l Level) { level = l }(level)
	var all []variant
	for l := AVX512; ; l-- {
		if l <= hostLevel() {
			level = l
			step := make()
			all = append(all, variant{l.String() + suffix, func(t, next *Table, odd int) {
				level = l
				step(t, next, odd)
			}})
		}
		if l == Generic {
			return all
		}
	}
}

// Floors are applied twice in a row and so leave a table as it was.
var floorXor = []variant{
	{"floor512", func(t, _ *Table, _ int) { floor.XorAVX512(t, 2) }},
	{"floor512 prefetch", func(t, next *Table, _ int) { floor.XorAVX512Prefetch(t, 2, next) }},
	{"floor256", func(t, _ *Table, _ int) { floor.XorAVX2(t, 2) }},
}

var floorRead = []variant{
	{"floor512 read", func(t, _ *Table, _ int) { floor.ReadAVX512(t, 2) }},
	{"floor512 prefetch", func(t, next *Table, _ int) { floor.ReadAVX512Prefetch(t, 2, next) }},
	{"floor256 read", func(t, _ *Table, _ int) { floor.ReadAVX2(t, 2) }},
}

// changes makes the variants of a change there and one back.
func changes(floors []variant, there, back *operation) []variant {
	v := append([]variant{}, floors...)
	v = append(v, atLevel("", func() func(t, next *Table, odd int) {
		cs, r := []Change{there.change(), back.change()}, new(Changed)
		return func(t, next *Table, odd int) { cs[odd].Apply(t, 0, 511, nil, nil, r) }
	})...)
	return append(v, atLevel(" prefetch", func() func(t, next *Table, odd int) {
		cs, r := []Change{there.change(), back.change()}, new(Changed)
		return func(t, next *Table, odd int) { cs[odd].Apply(t, 0, 511, nil, next, r) }
	})[:2]...)
}

func timings() []timing {
	ops := func(kernel string, prot x86.Prot, flags x86.ChangeFlags) *operation {
		k, _ := x86.KernelNamed(kernel)
		k.DevicePrivate = true
		l := swapentry.NewLayout(x86.MustABI(k, x86.DefaultPaging(4)))
		return &operation{name: kernel, layout: l, prot: prot, flags: flags}
	}
	const rw, ro = uint64(x86.ProtShared), uint64(x86.ProtReadonly)
	dense := func(at uint64) func(i int, t *Table) {
		return func(i int, t *Table) {
			for j := range t {
				t[j] = entry(at, uint64(i*512+j))
			}
		}
	}
	every8 := func(at, other uint64) func(i int, t *Table) {
		return func(i int, t *Table) {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for j := range t {
				t[j] = entry(at, uint64(i*512+j))
				if other == 1 && r.IntN(8) != 0 || other == 0 && j%8 != 0 {
					t[j] = 0
				} else if other > 1 && r.IntN(8) == 0 {
					t[j] = other
				}
			}
		}
	}
	var all []timing
	add := func(name string, fill func(int, *Table), floors []variant, there, back *operation) {
		all = append(all, timing{name, fill, changes(floors, there, back)})
	}
	for _, k := range []string{"6.1", "6.12"} {
		add("dense RW-R-RW "+k, dense(rw), floorXor, ops(k, x86.ProtReadonly, 0), ops(k, x86.ProtShared, 0))
	}
	add("dense dirty RW-R-RW 6.12", dense(rw|x86.PageDirty), floorXor, ops("6.12", x86.ProtReadonly, 0), ops("6.12", x86.ProtShared, 0))
	add("dense R-NONE-R 6.12", dense(ro), floorXor, ops("6.12", x86.ProtNone, 0), ops("6.12", x86.ProtReadonly, 0))
	add("dense nothing changes 6.12", dense(ro), floorRead, ops("6.12", x86.ProtReadonly, 0), ops("6.12", x86.ProtReadonly, 0))
	add("1 in 8 dirty RW-R-RW 6.12", every8(rw, rw|x86.PageDirty), floorXor, ops("6.12", x86.ProtReadonly, 0), ops("6.12", x86.ProtShared, 0))
	add("every 2nd dirty RW-R-RW 6.12", func(i int, t *Table) {
		for j := range t {
			t[j] = entry(rw|uint64(j%2)*x86.PageDirty, uint64(i*512+j))
		}
	}, floorXor, ops("6.12", x86.ProtReadonly, 0), ops("6.12", x86.ProtShared, 0))
	add("every 8th RW-R-RW 6.12", every8(rw, 0), floorXor, ops("6.12", x86.ProtReadonly, 0), ops("6.12", x86.ProtShared, 0))
	add("random 1 in 8 RW-R-RW 6.12", every8(rw, 1), floorXor, ops("6.12", x86.ProtReadonly, 0), ops("6.12", x86.ProtShared, 0))
	add("every 8th R-NONE-R 6.1", every8(ro, 0), floorXor, ops("6.1", x86.ProtNone, 0), ops("6.1", x86.ProtReadonly, 0))
	swap := uint64(swapentry.MkSwp(3, 0x1234).PTE())
	add("1 in 8 swap, unchanged 6.12", every8(rw, swap), floorXor, ops("6.12", x86.ProtReadonly, 0), ops("6.12", x86.ProtShared, 0))
	wp, un := ops("6.12", x86.ProtReadonly, x86.ChangeUffdWP), ops("6.12", x86.ProtReadonly, x86.ChangeUffdWPResolve)
	add("1 in 8 swap, rewritten 6.12", every8(rw, swap), floorXor, wp, un)
	ex := func(o *operation, f Exclusive) *operation { o.frames = f; return o }
	bits := Exclusive{Bits: make([]uint64, 1<<22/64)}
	for i := range bits.Bits {
		bits.Bits[i] = ^uint64(0)
	}
	add("R-RW exclusive, frames in order", dense(rw), floorXor, ops("6.12", x86.ProtReadonly, 0),
		ex(ops("6.12", x86.ProtReadonly, x86.ChangeTryWritable), bits))
	add("R-RW exclusive, random frames", func(i int, t *Table) {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		for j := range t {
			t[j] = entry(rw, uint64(r.IntN(1<<22)))
		}
	}, floorXor, ops("6.12", x86.ProtReadonly, 0), ex(ops("6.12", x86.ProtReadonly, x86.ChangeTryWritable), bits))
	return append(append(all, mixedTimings()...), scanTimings(dense)...)
}

// scanTimings are the cases of the other kernels. Those that change a table put it back in the other pass.
func scanTimings(dense func(at uint64) func(i int, t *Table)) []timing {
	a := x86.MustABI(x86.Linux6_12(), x86.DefaultPaging(4))
	const rw = uint64(x86.ProtShared)
	variants := func(floors []variant, make func() func(t, next *Table, odd int)) []variant {
		return append(append([]variant{}, floors...), atLevel("", make)...)
	}
	kinds, young, zap := a.Kinds(), a.HarvestYoung(), a.Zap(0)
	plain, frames := a.Runs(0, false), a.Runs(0, true)
	runs := func(p *x86.PTERuns) []variant {
		return variants(floorRead, func() func(t, next *Table, odd int) {
			b := new(Bitmap)
			return func(t, next *Table, odd int) { Breaks(p, t, t[0], b) }
		})
	}
	// few changes n entries of a table; the time is for 512, whatever n is.
	few := func(n int) []variant {
		return variants(floorXor[:1], func() func(t, next *Table, odd int) {
			cs, r, at := []Change{NewChange(a.Change(x86.ProtReadonly, 0), nil, Exclusive{}),
				NewChange(a.Change(x86.ProtShared, 0), nil, Exclusive{})}, new(Changed), 0
			return func(t, next *Table, odd int) {
				cs[odd].Apply(t, at, at+n-1, nil, nil, r)
				if odd == 1 {
					at = (at + 37) % (512 - n)
				}
			}
		})
	}
	return []timing{
		{"one page", dense(rw), few(1)},
		{"8 pages", dense(rw), few(8)},
		{"runs, uniform", dense(rw), runs(&plain)},
		{"runs with frames, uniform", dense(rw), runs(&frames)},
		{"runs of 16", func(i int, t *Table) {
			for j := range t {
				t[j] = entry(rw|uint64(j/16%2)*x86.PageDirty, uint64(i*512+j))
			}
		}, runs(&plain)},
		{"runs of 16 with frames", func(i int, t *Table) {
			for j := range t {
				t[j] = entry(rw, uint64(i*512+j+j/16))
			}
		}, runs(&frames)},
		{"sort", dense(rw), variants(floorRead, func() func(t, next *Table, odd int) {
			r := new(Sorted)
			return func(t, next *Table, odd int) { Sort(&kinds, t, r) }
		})},
		{"harvest, all old", dense(rw &^ x86.PageAccessed), variants(floorRead, func() func(t, next *Table, odd int) {
			r := new(Harvested)
			return func(t, next *Table, odd int) { Harvest(&young, t, 0, 511, r) }
		})},
		{"harvest, then young again", dense(rw), variants(floorXor, func() func(t, next *Table, odd int) {
			r, back, br := new(Harvested), NewChange(a.ChangeMkYoung(), nil, Exclusive{}), new(Changed)
			return func(t, next *Table, odd int) {
				if odd == 0 {
					Harvest(&young, t, 0, 511, r)
				} else {
					back.Apply(t, 0, 511, nil, nil, br)
				}
			}
		})},
		{"zap, then copy back", dense(rw), variants(floorXor, func() func(t, next *Table, odd int) {
			r, saved := new(Zapped), new(Table)
			return func(t, next *Table, odd int) {
				if odd == 0 {
					Zap(&zap, t, 0, 511, saved, r)
				} else {
					*t = *saved
				}
			}
		})},
		{"fork to one child, then RW again", dense(rw), forks(a, make([]Table, 1))},
		{"fork to new children, then RW again", dense(rw), forks(a, make([]Table, 1<<14))},
	}
}

// forks copies tables to the children, one after the other, with and without stream. In the other pass the parents
// become writable again.
func forks(a *x86.ABI, children []Table) []variant {
	at := 0
	child := func() *Table {
		at = (at + 1) % len(children)
		return &children[at]
	}
	flip := func(name string, fork func(t, child *Table, x uint64), back func(t *Table, x uint64)) variant {
		return variant{name, func(t, _ *Table, odd int) {
			if odd == 0 {
				fork(t, child(), 2)
			} else {
				back(t, 2)
			}
		}}
	}
	v := []variant{
		flip("floor512 copy", floor.CopyAVX512, floor.XorAVX512),
		flip("floor512 stream", floor.CopyAVX512Stream, floor.XorAVX512),
		flip("floor256 copy", floor.CopyAVX2, floor.XorAVX2),
		flip("floor256 stream", floor.CopyAVX2Stream, floor.XorAVX2),
	}
	for _, stream := range []bool{false, true} {
		v = append(v, atLevel(map[bool]string{true: " stream"}[stream], func() func(t, next *Table, odd int) {
			c, r := NewCopy(a.Copy(x86.CopyCOW), stream), new(Copied)
			back, br := NewChange(a.Change(x86.ProtShared, 0), nil, Exclusive{}), new(Changed)
			return func(t, next *Table, odd int) {
				if odd == 0 {
					c.Apply(t, child(), 0, 511, r)
				} else {
					back.Apply(t, 0, 511, nil, nil, br)
				}
			}
		})...)
	}
	return v
}
