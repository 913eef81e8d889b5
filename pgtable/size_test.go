package pgtable_test

import (
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// tablesFor returns the tables that map the bytes from 0 on with 4 KiB pages: one at least on each level.
func tablesFor(bytes uint64, levels int) (n uint64) {
	for span := uint64(tableSpan); levels > 0; levels-- {
		n += max(1, (bytes+span-1)/span)
		span *= 512
	}
	return n
}

// TestTerabyteFits: the state beside the tables takes less than a tenth of what they take, in a memory that holds
// only the tables, and in one that holds the terabyte as well.
func TestTerabyteFits(t *testing.T) {
	const tib = 1 << 40
	// The formula is right where it can be tried.
	for _, bytes := range []uint64{tableSpan, 3 * tableSpan, 1<<30 + tableSpan} {
		tree := newTree(t, abi7(), 2048)
		if err := tree.Map(pgtable.Range{First: 0, Last: x86.Virt(bytes) - 1}, 0, x86.ProtShared); err != nil {
			t.Fatal(err)
		}
		if got, want := tree.RAM().Used(), tablesFor(bytes, 4); got != want {
			t.Errorf("%#x bytes take %d tables, want %d", bytes, got, want)
		}
	}
	n := tablesFor(tib, 4)
	for _, frames := range []uint64{n, n + tib/pageSize} {
		tables, state := n*pageSize, physmem.StateBytes(frames, n)
		ratio := float64(tables+state) / float64(tables)
		t.Logf("memory of %d frames: %d MiB of tables, %.1f MiB of state: %.4f times the tables", frames, tables>>20, float64(state)/(1<<20), ratio)
		if ratio > 1.1 {
			t.Errorf("%.4f is more than 1.1", ratio)
		}
	}
}
