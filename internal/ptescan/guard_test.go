//go:build unix

package ptescan

import (
	"math/rand/v2"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan/hostmem"
)

// fenced is a result between words that nobody may change.
type fenced[T any] struct {
	before [8]uint64
	r      T
	behind [8]uint64
}

func fence[T any]() *fenced[T] {
	f := new(fenced[T])
	for i := range f.before {
		f.before[i], f.behind[i] = canary, canary
	}
	return f
}

const canary = 0xdeadc0dedeadc0de

func (f *fenced[T]) check(t *testing.T, what string) {
	t.Helper()
	for i := range f.before {
		if f.before[i] != canary || f.behind[i] != canary {
			t.Fatalf("%s writes beyond its result", what)
		}
	}
}

// TestGuarded runs every kernel on tables between guard pages, with results between canaries.
func TestGuarded(t *testing.T) {
	tab, child, saved := hostmem.Guarded(t), hostmem.Guarded(t), hostmem.Guarded(t)
	all := layouts(t)
	forEachImpl(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		changed, copied, zapped := fence[Changed](), fence[Copied](), fence[Zapped]()
		harvested, sorted, breaks := fence[Harvested](), fence[Sorted](), fence[Bitmap]()
		for range 2000 {
			l := all[layoutNames[r.IntN(len(layoutNames))]]
			a := l.ABI()
			o := &operation{layout: l, prot: prots[r.IntN(5)], flags: flagSets()[r.IntN(10)], page: pageUnknown, markers: true}
			c := o.change()
			first, last := randomRange(r)

			*tab = *randomTable(r)
			c.Apply(tab, first, last, randomBitmap(r), child, &changed.r)
			changed.check(t, "Change")

			*tab, *child = *randomTable(r), Table{}
			cp := NewCopy(a.Copy(x86.CopyCOW), r.IntN(2) == 0)
			cp.Apply(tab, child, first, last, &copied.r)
			copied.check(t, "Copy")

			*tab = *randomTable(r)
			z := a.Zap(0)
			Zap(&z, tab, first, last, saved, &zapped.r)
			zapped.check(t, "Zap")

			*tab = *randomTable(r)
			h := a.HarvestDirty()
			Harvest(&h, tab, first, last, &harvested.r)
			harvested.check(t, "Harvest")

			k, runs := a.Kinds(), a.Runs(0, r.IntN(2) == 0)
			Sort(&k, tab, &sorted.r)
			sorted.check(t, "Sort")
			Breaks(&runs, tab, r.Uint64(), &breaks.r)
			breaks.check(t, "Breaks")
		}
	})
}
