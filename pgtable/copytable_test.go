package pgtable_test

import (
	"errors"
	"testing"

	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// TestCopyToUsed: the child's entries are not overwritten, and it gets no table for a part without entries.
func TestCopyToUsed(t *testing.T) {
	tree := newTree(t, abi7(), 4096)
	child, err := pgtable.New(tree.RAM(), abi7())
	if err != nil {
		t.Fatal(err)
	}
	const at = 0x400000
	page := func(n x86.Virt) pgtable.Range {
		return pgtable.Range{First: at + n*pageSize, Last: at + (n+1)*pageSize - 1}
	}
	fork := func(r pgtable.Range) error {
		var g pgtable.Gather
		g.Start(tree, nil)
		err := tree.Copy(&g, child, r, &pgtable.Copy{COW: true})
		return errors.Join(err, g.Finish())
	}
	if err := errors.Join(tree.Map(page(0), 1, x86.ProtShared), tree.Map(page(5), 2, x86.ProtShared)); err != nil {
		t.Fatal(err)
	}
	if err := fork(page(1)); err != nil || child.Tables(x86.LevelPTE) != 1 { // Linux makes one before it looks
		t.Errorf("an empty part of a table: %v, %d tables", err, child.Tables(x86.LevelPTE))
	}
	if err := fork(page(0)); err != nil {
		t.Error(err)
	}
	if err := fork(page(5)); err != nil || child.Tables(x86.LevelPTE) != 1 {
		t.Errorf("into the same table: %v, %d tables", err, child.Tables(x86.LevelPTE))
	}
	var where *pgtable.AddrError
	err = fork(pgtable.Range{First: at, Last: at + tableSpan - 1})
	if !errors.Is(err, pgtable.ErrUsed) || !errors.As(err, &where) || where.VA != at {
		t.Errorf("copied twice: %v", err)
	}
	if err := errors.Join(child.Check(), child.Close()); err != nil {
		t.Error(err)
	}
}
