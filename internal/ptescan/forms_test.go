package ptescan

import (
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
)

// TestChangeTwoForms puts tables through every operation whose pages differ in one bit by chance, with each of the
// deciding bits, dense and sparse, once for each of two classes: the change must tell the forms apart again. One page
// more is a stranger, so that each path meets both.
func TestChangeTwoForms(t *testing.T) {
	forEachImpl(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		forEachOperation(t, func(o *operation) {
			for i, bit := range decidingBits {
				if testing.Short() && r.IntN(8) != i%8 {
					continue
				}
				at := someAttributes[r.IntN(len(someAttributes))]
				for _, every := range []int{1, 1 + r.IntN(9)} {
					var tab Table
					for i := 0; i < len(tab); i += every {
						tab[i] = entry(at&^bit|uint64(r.IntN(2))*bit, framesBase+41*64+uint64(i))
					}
					o.check(t, &tab, 0, 511, nil)
					tab[r.IntN(512)] ^= decidingBits[r.IntN(len(decidingBits))]
					first, last := randomRange(r)
					o.check(t, &tab, first, last, nil)
				}
			}
		})
	})
}

// TestChangeAfterOther: what a change learned from one table does not spoil the next, of other pages.
func TestChangeAfterOther(t *testing.T) {
	forEachImpl(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		forEachOperation(t, func(o *operation) {
			c, g := o.change(), o.change()
			for range 6 {
				at, bit := someAttributes[r.IntN(4)], decidingBits[r.IntN(len(decidingBits))]
				var tab, want Table
				for i := range tab {
					tab[i] = entry(at^uint64(r.IntN(2))*bit, framesBase+uint64(i))
				}
				var got, wanted Changed
				old := tab
				want = tab
				c.Apply(&tab, 0, 511, nil, nil, &got)
				g.applyGeneric(&want, 0, 511, nil, &wanted)
				if tab != want || got != wanted {
					t.Fatalf("%s: %#x: got %+v, want %+v", o.name, old[:8], got, wanted)
				}
			}
		})
	})
}

// TestChangeFlushOfOneForm: the range to flush holds the pages of the form that needs it, and no more.
func TestChangeFlushOfOneForm(t *testing.T) {
	l := layouts(t)["6.1"]
	const rw, ro = uint64(x86.ProtShared), uint64(x86.ProtReadonly)
	forEachImpl(t, func(t *testing.T) {
		o := &operation{name: "6.1", layout: l, prot: x86.ProtReadonly}
		c, r := o.change(), new(Changed)
		for first := range 64 {
			var tab Table
			for i := range tab {
				tab[i] = entry(ro, uint64(i))
			}
			for i := first; i < 512-2*first; i += 3 {
				tab[i] = entry(rw, uint64(i))
			}
			last := first + (511-3*first)/3*3
			c.Apply(&tab, 0, 511, nil, nil, r)
			if r.First != int64(first) || r.Last != int64(last) {
				t.Fatalf("flush %d to %d, want %d to %d", r.First, r.Last, first, last)
			}
		}
	})
}
