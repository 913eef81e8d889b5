package pgtable_test

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

func ExampleTree() {
	ram, err := physmem.NewRAM(0x1000, 1024)
	if err != nil {
		panic(err)
	}
	defer ram.Close()
	abi := x86.MustABI(x86.Linux6_12(), x86.DefaultPaging(4))
	tree, err := pgtable.New(ram, abi)
	if err != nil {
		panic(err)
	}
	r := pgtable.Range{First: 0x7f0000000000, Last: 0x7f0000002fff}
	if err := tree.Map(r, 0x12345, x86.ProtShared); err != nil {
		panic(err)
	}

	// One entry at a time: the cursor is the lock.
	c, err := tree.LockPTEs(r.First, false)
	if err != nil {
		panic(err)
	}
	c.Set(0, c.Get(0).MkDirty(abi))
	c.SetWrProtect(0)
	c.Unlock()

	for _, e := range tree.Walk(r.First, nil) {
		fmt.Printf("%v %v %#x\n", e.Level, e.Place, e.Value)
	}

	// A range at a time: what processors must forget is owed to a gather.
	var g pgtable.Gather
	g.Start(tree, nil)
	if err := tree.ClearSoftDirty(&g, r, &pgtable.SoftDirty{}); err != nil {
		panic(err)
	}
	f, _ := g.Owed()
	fmt.Printf("owed: %v to %v\n", f.First, f.Last)
	if err := g.Finish(); err != nil {
		panic(err)
	}
	fmt.Println(tree.Check())
	// Output:
	// p4d 0x10007f0 0x1001067
	// pud 0x1001000 0x1002067
	// pmd 0x1002000 0x1003067
	// pte 0x1003000 0x8400000012345825
	// owed: 0x00007f0000001000 to 0x00007f0000002fff
	// <nil>
}
