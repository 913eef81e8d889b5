package capture_test

import (
	"fmt"
	"log"

	"ptemu/capture"
	"ptemu/physmem"
)

func ExampleOpen() {
	c, err := capture.Open("elfcore/testdata/qemu-7.2-paging-on.head", capture.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	fmt.Println(c.Format)
	fmt.Printf("CR3 of CPU 0: %#x\n", c.CPUs[0].CR3)
	fmt.Println(c.Remarks[0])
	var f physmem.Frame
	fmt.Println(c.Mem.ReadFrame(0x300, &f))
	fmt.Println(c.Mem.ReadFrame(0x200, &f))
	fmt.Println(c.Mem.ReadFrame(0x400, &f))
	// Output:
	// ELF core (QEMU)
	// CR3 of CPU 0: 0x200000
	// the file ends early: 663552 bytes of memory are missing
	// frame 0x300: ELF core: offset 0x2e04d0: file ends early
	// frame 0x200: excluded from capture
	// frame 0x400: not in capture
}
