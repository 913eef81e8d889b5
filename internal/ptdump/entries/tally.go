package entries

import (
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/pgtable"
)

// Tally counts what is remarkable about the entries and tables of a walk.
type Tally struct {
	Entries  uint64         // of all
	Problems map[string]int // by text
	Reserved int            // entries with reserved bits
	Invalid  uint64         // entries that no kernel writes
	swap     swapUses
}

// NewTally returns an empty tally for walks of s.
func NewTally(s *tree.Tree) Tally {
	return Tally{swap: swapUses{layout: s.Layout, ramEnd: s.System.Layout.RAMEnd().PFN()}}
}

// Add counts n entries like l.
func (t *Tally) Add(l *tree.Leaf, n uint64) {
	t.Entries += n
	if l.Unusable() {
		t.Reserved += int(n)
	}
	if l.Invalid {
		t.Invalid += n
	}
	t.swap.add(l, n)
}

// Problem counts a problem.
func (t *Tally) Problem(p *pgtable.Problem) {
	if t.Problems == nil {
		t.Problems = map[string]int{}
	}
	t.Problems[tree.ProblemClass(p)]++
}

// Doubt says what speaks against the assumption about CONFIG_DEVICE_PRIVATE, which moves the numbers of swap types; "" if
// nothing does, or nothing was assumed.
func (t *Tally) Doubt(sys *linux.System) string { return t.swap.doubt(sys) }
