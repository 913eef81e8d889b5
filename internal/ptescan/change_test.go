package ptescan

import (
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
)

// TestChangeWorked changes the worked entries: what the kernels were seen to make of them.
func TestChangeWorked(t *testing.T) {
	const w = 0x8000000012345867
	all := layouts(t)
	exclusive := Exclusive{Base: 0x12340, Bits: []uint64{^uint64(0)}}
	for _, c := range []struct {
		name     string
		old      uint64
		prot     x86.Prot
		flags    x86.ChangeFlags
		frames   Exclusive
		v61, now uint64
	}{
		{"read-only", w, x86.ProtReadonly, 0, Exclusive{}, 0x8000000012345865, 0x8400000012345825},
		{"none", w, x86.ProtNone, 0, Exclusive{}, 0x000fffffedcba960, 0x040fffffedcba920},
		{"NUMA hint", w, x86.ProtNone, x86.ChangeNUMA, Exclusive{}, 0x000fffffedcba962, 0x040fffffedcba920},
		{"uffd-wp", w, x86.ProtReadonly, x86.ChangeUffdWP, Exclusive{}, 0x8000000012345c65, 0x8400000012345c25},
		{"none to writable, exclusive, clean", 0x000fffffedcba120, x86.ProtReadonly, x86.ChangeTryWritable, exclusive,
			0x8000000012345025, 0x8000000012345027},
		{"none to writable, not exclusive", 0x000fffffedcba120, x86.ProtReadonly, x86.ChangeTryWritable,
			Exclusive{Base: 0x12340, Bits: []uint64{0}}, 0x8000000012345025, 0x8000000012345025},
	} {
		forEachImpl(t, func(t *testing.T) {
			for _, kernel := range layoutNames {
				want := c.now
				if kernel[:3] == "6.1" && kernel != "6.12" && kernel != "6.12+" {
					want = c.v61
				}
				for at := range 64 { // alone, and as one of a group
					for _, alone := range []bool{false, true} {
						var tab Table
						for i := range tab {
							if !alone || i == at {
								tab[i] = c.old
							}
						}
						o := &operation{layout: all[kernel], prot: c.prot, flags: c.flags, noSwap: true, frames: c.frames}
						ch, r := o.change(), Changed{}
						ch.Apply(&tab, 0, 511, nil, nil, &r)
						if tab[at] != want {
							t.Fatalf("%s, %s: %#x, want %#x", c.name, kernel, tab[at], want)
						}
					}
				}
			}
		})
	}
	// A writable exclusive page that goes read-only and comes back.
	forEachImpl(t, func(t *testing.T) {
		for _, kernel := range layoutNames {
			tab, r := Table{7: w}, Changed{}
			to := &operation{layout: all[kernel], prot: x86.ProtReadonly}
			back := &operation{layout: all[kernel], prot: x86.ProtReadonly, flags: x86.ChangeTryWritable, frames: exclusive}
			for _, o := range []*operation{to, back} {
				c := o.change()
				c.Apply(&tab, 0, 511, nil, nil, &r)
			}
			if tab[7] != w {
				t.Errorf("%s: there and back is %#x", kernel, tab[7])
			}
		}
	})
}

// TestChangeEverySubset puts all combinations of the deciding bits through every operation: side by side, and each
// in a group of its own.
func TestChangeEverySubset(t *testing.T) {
	n := 1 << len(decidingBits)
	tables := make([]Table, n/512)
	for i := range n {
		tables[i/512][i%512] = entry(spread(i, decidingBits), framesBase+uint64(i))
	}
	r := rand.New(rand.NewPCG(3, 4))
	forEachImpl(t, func(t *testing.T) {
		forEachOperation(t, func(o *operation) {
			for i := range tables {
				o.check(t, &tables[i], 0, 511, nil)
			}
			var groups Table
			for g := 0; g < len(groups); g += 32 {
				at := spread(r.IntN(n), decidingBits)
				for i := g; i < g+32; i++ {
					groups[i] = entry(at, framesBase+uint64(i))
				}
			}
			o.check(t, &groups, 0, 511, nil)
		})
	})
}

// TestChangeRandom compares on tables of every structure, with random ranges and bitmaps.
func TestChangeRandom(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	forEachImpl(t, func(t *testing.T) {
		seed := rand.Uint64()
		defer func() {
			if t.Failed() {
				t.Logf("seed %#x", seed)
			}
		}()
		r := rand.New(rand.NewPCG(seed, 0))
		forEachOperation(t, func(o *operation) {
			for range rounds {
				first, last := randomRange(r)
				o.check(t, randomTable(r), first, last, randomBitmap(r))
			}
		})
	})
}

// TestChangeEveryRange tries all pairs of first and last.
func TestChangeEveryRange(t *testing.T) {
	l := layouts(t)["6.12"]
	r := rand.New(rand.NewPCG(5, 6))
	tab := randomTable(r)
	for g := 0; g < 512; g += 64 {
		fill(r, tab[g:g+64])
	}
	forEachImpl(t, func(t *testing.T) {
		o := &operation{name: "6.12", layout: l, prot: prots[1], page: pageAnon}
		for first := range 512 {
			for last := first; last < 512; last += 1 + last/100 {
				o.check(t, tab, first, last, nil)
			}
		}
	})
}
