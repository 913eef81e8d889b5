package proc_test

import (
	"context"
	"fmt"
	"log"

	"ptemu/capture"
	"ptemu/linux"
	"ptemu/linux/proc"
)

func ExampleFind() {
	c, err := capture.Open("../testdata/pti-7.2-la57.elf.zst", capture.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	sys, err := linux.Detect(c.Mem, c.VMCoreInfo, nil, linux.Options{})
	if err != nil {
		log.Fatal(err)
	}
	procs, err := proc.Find(context.Background(), c.Mem, sys, proc.Options{})
	if err != nil {
		log.Fatal(err)
	}
	// This capture has page tables only: what is left to find is the root of one process.
	for _, p := range procs.List {
		fmt.Println(p.PID, p.Comm, p.MM.Roots.Kernel)
	}
	// Output: -1  0x2b08000
}
