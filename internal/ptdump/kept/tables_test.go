package kept_test

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/kept"
	"ptemu/internal/pttree"
	"ptemu/linux"
	"ptemu/physmem"
)

// TestTables: of a memory only the tables of the roots are left, all else is excluded; a table that is not there counts as
// missing.
func TestTables(t *testing.T) {
	m := pttree.New(0x100)
	root, other := m.Table(), m.Table()
	m.Map(root, 4, 0x400000, x86.LevelPTE, uint64(other.Phys())|0x25, capturetest.UserTable) // maps a page that is a table of nobody
	m.Map(root, 4, 0x40000000, x86.LevelPMD, 0x9999067, capturetest.UserTable)               // leads to a table that is not there
	roots := linux.Roots{Kernel: root.Phys(), User: root.Phys()}
	set := kept.NewTables()
	if err := set.Add(capturetest.TreeOf(m, root, x86.Linux6_12(), x86.DefaultPaging(4)), roots); err != nil {
		t.Fatal(err)
	}
	if set.Missing == 0 {
		t.Error("no table is missing")
	}
	mem := set.Only(m)
	var f physmem.Frame
	tables := 0
	for _, r := range m.Ranges() {
		for at := r.Start; at < r.End; at += x86.PageSize {
			switch err := mem.ReadFrame(at.PFN(), &f); {
			case err == nil:
				tables++
			case !errors.Is(err, physmem.ErrExcluded):
				t.Errorf("frame %v: %v", at, err)
			}
		}
	}
	if tables != 5 { // PGD, PUD, the PMD tables of both gigabytes, a PTE table
		t.Errorf("%d tables, want 5", tables)
	}
	if err := mem.ReadFrame(other, &f); !errors.Is(err, physmem.ErrExcluded) {
		t.Errorf("a frame that no root leads to: %v", err)
	}
}
