//go:build linux && amd64

package peers

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/ring0/pagetables"

	"ptemu/arch/x86"
)

// mapping is what an address translates to.
type mapping struct {
	frame x86.PFN
	r     rights
}

// oracle is the translations that both sides should have.
type oracle map[x86.Virt]mapping

// runs calls f for every run of pages in s that are mapped to consecutive frames.
func (o oracle) runs(s span, f func(run span)) {
	for i := 0; i < s.pages; {
		m, ok := o[s.page(i)]
		n := 1
		for ok && i+n < s.pages {
			next, ok := o[s.page(i+n)]
			if !ok || next.frame != m.frame+x86.PFN(n) {
				break
			}
			n++
		}
		if ok {
			f(span{s.page(i), n, m.frame})
		}
		i += n
	}
}

// windows are where pages may be: across the edges of PTE, PMD and PUD tables.
var windows = []span{
	{first: 0x400000, pages: 700},
	{first: 1<<30 - 3*512*x86.PageSize, pages: 5 * 512},
	{first: 1<<39 - 700*x86.PageSize, pages: 1500},
}

func drawSpan(rnd *rand.Rand) span {
	w := windows[rnd.IntN(len(windows))]
	i := rnd.IntN(w.pages)
	n := 1 + rnd.IntN(w.pages-i)
	if rnd.IntN(2) == 0 {
		n = min(n, 1+rnd.IntN(20))
	}
	s := w.part(i, n)
	for s.frame = x86.PFN(1 + rnd.IntN(1<<30)); !s.small(); {
		s.frame++
	}
	return s
}

// step does one operation at random on both sides and on the oracle.
func step(rnd *rand.Rand, o oracle, p *ptemuSide, g *gvisorSide) {
	s, r := drawSpan(rnd), rights(rnd.IntN(rightsCount))
	one := s.part(rnd.IntN(s.pages), 1)
	at := []x86.Virt{one.first}
	switch op := rnd.IntN(6); op {
	case 0, 1: // unmap, and map anew
		p.unmap(s)
		g.unmap(s)
		for i := range s.pages {
			delete(o, s.page(i))
		}
		if op == 0 {
			return
		}
		p.mapAll(s, r)
		g.mapAll(s, r)
		for i := range s.pages {
			o[s.page(i)] = mapping{s.at(s.page(i)), r}
		}
	case 2, 3:
		p.protect(s, r)
		o.runs(s, func(run span) {
			g.protect(run, r)
			for i := range run.pages {
				o[run.page(i)] = mapping{run.at(run.page(i)), r}
			}
		})
	case 4:
		if m, ok := o[one.first]; ok {
			one.frame = m.frame
			p.protectPages(one, at, r)
			g.protectPages(one, at, r)
			o[one.first] = mapping{m.frame, r}
		}
	case 5:
		p.setPages(one, at, r)
		g.setPages(one, at, r)
		o[one.first] = mapping{one.frame, r}
	}
}

// check compares all that a side has mapped with the oracle, and what a processor finds in all windows.
func (o oracle) check(t *testing.T, s side) {
	t.Helper()
	found := oracle{}
	s.each(func(va x86.Virt, pfn x86.PFN, r rights) { found[va] = mapping{pfn, r} })
	if !maps.Equal(o, found) {
		t.Fatalf("%s: %d pages, not the %d expected: %v", s.name(), len(found), len(o), o.difference(found))
	}
	unit, mem := s.unit()
	for _, win := range windows {
		for i := range win.pages {
			va := win.page(i)
			want, mapped := o[va]
			if pfn, r, ok := s.lookup(va); ok != mapped || ok && (pfn != want.frame || r != want.r) {
				t.Fatalf("%s: lookup of %v: %#x %v %t, want %v %t", s.name(), va, pfn, r, ok, want, mapped)
			}
			w := unit.Walk(mem, va)
			if err := w.Err(); err != nil {
				t.Fatalf("%s: %v", s.name(), err)
			}
			phys, ok := w.Phys()
			rt := w.Rights()
			if ok != mapped || ok && (phys.PFN() != want.frame || w.Size() != x86.PageSize || !rt.U ||
				rt.W != (want.r&write != 0) || rt.X != (want.r&exec != 0)) {
				t.Fatalf("%s: a processor finds %v %+v at %v, want %v %t", s.name(), phys, rt, va, want, mapped)
			}
		}
	}
}

// difference returns the first addresses where o and other differ.
func (o oracle) difference(other oracle) (at []x86.Virt) {
	for va := range o {
		if o[va] != other[va] {
			at = append(at, va)
		}
	}
	for va := range other {
		if _, ok := o[va]; !ok {
			at = append(at, va)
		}
	}
	slices.Sort(at)
	return at[:min(len(at), 5)]
}

// TestSameTranslations: after any sequence of operations, both sides have the same pages with the same frames and
// rights, as an independent record of the operations has them.
func TestSameTranslations(t *testing.T) {
	const sequences, steps, checkEvery = 6, 200, 50
	for seed := range uint64(sequences) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		o, p, g := oracle{}, newPtemu(t, 1<<20), newGvisor(t, newTables())
		for i := range steps {
			step(rnd, o, p, g)
			if i%checkEvery == checkEvery-1 {
				o.check(t, p)
				o.check(t, g)
			}
		}
		if len(o) == 0 {
			t.Errorf("sequence %d ended with nothing mapped", seed)
		}
	}
}

// TestSameWork: the operations of the benchmarks leave both sides alike, with the tables that are measured.
func TestSameWork(t *testing.T) {
	const bytes = 32 << 10
	for _, op := range operations {
		p, g := newPtemu(t, bytes), newGvisor(t, pagetables.NewRuntimeAllocator())
		w := newWork(bytes)
		for _, s := range []side{p, g} {
			if op.mapped {
				s.mapAll(w.span, write)
			}
			op.round(w, s, func(do func()) { do() })
		}
		var pages [2][]mapping
		for i, s := range []side{p, g} {
			s.each(func(va x86.Virt, pfn x86.PFN, r rights) { pages[i] = append(pages[i], mapping{pfn, r}) })
		}
		if !slices.Equal(pages[0], pages[1]) {
			t.Errorf("%s: the sides differ: %d and %d pages", op.name, len(pages[0]), len(pages[1]))
		}
		if op.mapped && len(pages[0]) != w.pages {
			t.Errorf("%s: %d pages, want %d", op.name, len(pages[0]), w.pages)
		}
		if a, b := p.lookups(w.at), g.lookups(w.at); a != b {
			t.Errorf("%s: lookups add up to %#x and %#x", op.name, a, b)
		}
	}
}
