package bench

import (
	"math/rand/v2"

	"ptemu/arch/x86"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// fill fills table i of a set.
type fill func(s *Set, r *rand.Rand, i int, t *physmem.Table)

// frameOf is the frame behind entry j of table i where frames are in order.
func frameOf(i, j int) x86.PFN { return firstFrame + x86.PFN(i*x86.EntriesPerTable+j) }

// dense fills with pages whose frames are in order.
func dense(prot x86.Prot) fill {
	return func(s *Set, _ *rand.Rand, i int, t *physmem.Table) {
		for j := range t {
			t[j] = uint64(x86.MkPTE(s.ABI(), frameOf(i, j), prot))
		}
	}
}

// randomFrames is the number of frames (16 GiB) that scattered chooses from.
const randomFrames = 1 << 22

// scattered fills with pages at random frames.
func scattered(prot x86.Prot) fill {
	return func(s *Set, r *rand.Rand, i int, t *physmem.Table) {
		for j := range t {
			t[j] = uint64(x86.MkPTE(s.ABI(), firstFrame+x86.PFN(r.IntN(randomFrames)), prot))
		}
	}
}

// every8 fills every eighth entry with a page and leaves the others none.
func every8(prot x86.Prot) fill {
	return func(s *Set, _ *rand.Rand, i int, t *physmem.Table) {
		clear(t[:])
		for j := 0; j < len(t); j += 8 {
			t[j] = uint64(x86.MkPTE(s.ABI(), frameOf(i, j), prot))
		}
	}
}

// oneIn8 fills with pages, and a random eighth of the entries with what other makes of the page.
func oneIn8(prot x86.Prot, other func(s *Set, e x86.PTE) x86.PTE) fill {
	return func(s *Set, r *rand.Rand, i int, t *physmem.Table) {
		for j := range t {
			e := x86.MkPTE(s.ABI(), frameOf(i, j), prot)
			if r.IntN(8) == 0 {
				e = other(s, e)
			}
			t[j] = uint64(e)
		}
	}
}

// What oneIn8 mixes in.
func noneEntry(*Set, x86.PTE) x86.PTE     { return 0 }
func swapped(*Set, x86.PTE) x86.PTE       { return swapentry.MkSwp(3, 0x1234).PTE() }
func marker(s *Set, _ x86.PTE) x86.PTE    { return s.Layout.MakePTEMarker(swapentry.MarkerPoisoned) }
func dirtyPage(s *Set, e x86.PTE) x86.PTE { return e.MkDirty(s.ABI()) }
func ordinary(_ *Set, e x86.PTE) x86.PTE  { return e &^ x86.PageSpecial }

// runsOf fills with pages whose attributes change every n entries; 0: never.
func runsOf(n int) fill {
	return func(s *Set, _ *rand.Rand, i int, t *physmem.Table) {
		dense(rw)(s, nil, i, t)
		for j := range t {
			if n != 0 && j/n%2 != 0 {
				t[j] |= x86.PageDirty
			}
		}
	}
}

// nothing leaves the tables empty.
func nothing(_ *Set, _ *rand.Rand, _ int, t *physmem.Table) { clear(t[:]) }
