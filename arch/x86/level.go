package x86

import "fmt"

// Level names a table by the entries that it holds. LevelPTE is 1, so that a level is also the number of
// tables that a walk still has to read.
type Level uint8

// The five levels. With four-level paging Linux folds the P4D into the PGD: the root's entries are then P4D
// entries, and no table of LevelPGD exists.
const (
	LevelPTE Level = 1 + iota
	LevelPMD
	LevelPUD
	LevelP4D
	LevelPGD
)

// Shift returns the number of address bits that one entry of the level spans: 12, 21, 30, 39 or 48.
func (l Level) Shift() uint { return uint(PageShift + 9*(uint(l)-1)) }

// Size returns the bytes of address space that one entry of the level spans.
func (l Level) Size() uint64 { return 1 << l.Shift() }

// Span returns the bytes of address space that a whole table of the level spans.
func (l Level) Span() uint64 { return l.Size() * EntriesPerTable }

// String returns the kernel's lower-case name: "pte", "pmd", "pud", "p4d", "pgd".
func (l Level) String() string {
	switch l {
	case LevelPTE:
		return "pte"
	case LevelPMD:
		return "pmd"
	case LevelPUD:
		return "pud"
	case LevelP4D:
		return "p4d"
	case LevelPGD:
		return "pgd"
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}
