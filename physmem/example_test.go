package physmem_test

import (
	"errors"
	"fmt"
	"log"

	"ptemu/physmem"
)

func ExampleRAM() {
	ram, err := physmem.NewRAM(0x1000, 512)
	if err != nil {
		log.Fatal(err)
	}
	defer ram.Close()
	pfn, err := ram.Alloc(physmem.UseTable)
	if err != nil {
		log.Fatal(err)
	}
	ram.Table(pfn)[7] = 0x1067

	// The walkers read it as they read a capture.
	var t physmem.Table
	fmt.Println(physmem.ReadTable(ram, pfn, &t), t[7] == 0x1067)
	var f physmem.Frame
	err = ram.ReadFrame(pfn+1, &f)
	fmt.Println(errors.Is(err, physmem.ErrExcluded), errors.Is(ram.ReadFrame(0x2000, &f), physmem.ErrAbsent))
	// Output:
	// <nil> true
	// true true
}
