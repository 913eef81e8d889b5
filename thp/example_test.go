package thp_test

import (
	"fmt"
	"log"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
	"ptemu/thp"
)

func ExampleArea_Split() {
	ram, err := physmem.NewRAM(0x1000, 1024)
	if err != nil {
		log.Fatal(err)
	}
	defer ram.Close()
	abi := x86.MustABI(x86.Linux6_12(), x86.DefaultPaging(4))
	tree, err := pgtable.New(ram, abi)
	if err != nil {
		log.Fatal(err)
	}
	area := thp.Area{Layout: swapentry.NewLayout(abi), Prot: x86.ProtReadonly, Anon: true, Write: true}
	const va, pfn = x86.Virt(0x7f0000200000), x86.PFN(0x80000)
	if err := area.Map(tree, va, area.Leaf(pfn).MkDirty(abi).MkWrite(abi)); err != nil {
		log.Fatal(err)
	}
	page := func(x86.PFN) thp.Page { return thp.Page{Anon: true, Exclusive: true} }
	if _, err := area.Split(tree, va, page, false); err != nil {
		log.Fatal(err)
	}
	for _, at := range []x86.Virt{va, va + 511*x86.PageSize} {
		way := tree.Walk(at, nil)
		e := way[len(way)-1]
		fmt.Printf("%v %#x\n", e.Level, e.Value)
	}
	fmt.Println(tree.Check())
	// Output:
	// pte 0x8000000080000867
	// pte 0x80000000801ff867
	// <nil>
}
