package bench

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptescan/floor"
)

// FloorKind is what the least possible work on the tables is.
type FloorKind string

// The floors.
const (
	FloorNone FloorKind = ""
	FloorXor  FloorKind = "xor"  // every entry read, flipped, written
	FloorRead FloorKind = "read" // every entry read
	FloorCopy FloorKind = "copy" // every entry read, flipped, written, and written to a second table
)

// flipped is the bit that floors flip: harmless, since the next pass flips it back.
const flipped = x86.PageRW

// bare is one bare pass over the tables.
type bare struct {
	name  string
	table func(t, next *floor.Table)
}

// floors returns the bare passes over the tables of s: several codes for the same work, of which the best counts.
func (s *Set) floors(kind FloorKind) (all []Variant) {
	for _, b := range bares(kind, Levels()[0]) {
		all = append(all, Variant{Name: b.name, Kind: Floor, PTEs: s.PTEs(), Pass: func(int) (int64, error) {
			last := len(s.Tables) - 1
			for i, t := range s.Tables {
				b.table((*floor.Table)(t), (*floor.Table)(s.Tables[min(i+1, last)]))
			}
			return 0, nil
		}})
	}
	return all
}
