// Package floor is what the kernels of ptescan are measured against: the fewest instructions that read a page table,
// and that read it, flip bits and write it back. No change of a table can be faster.
//
// It has no use outside benchmarks. What must always hold: nothing here is cleverer or lazier than the kernels may
// be; each line is read once, and written once.
package floor

// Table is a page table.
type Table = [512]uint64

// Xor is the plain Go form: it flips the bits of x in every entry.
func Xor(t *Table, x uint64) {
	for i := range t {
		t[i] ^= x
	}
}

// Read is the plain Go form: it returns the or of all entries.
func Read(t *Table) uint64 {
	var v uint64
	for _, e := range t {
		v |= e
	}
	return v
}
