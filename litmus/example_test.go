package litmus_test

import (
	"fmt"
	"log"

	"ptemu/litmus"
)

func ExampleEmulate() {
	p, err := litmus.Parse("fork.pt", `
title   a page that fork shared is copied by the first write, and the child's by none
map     a 1 rw private anon
write   a 0
expect  a 0 present rw
fork    child
expect  a 0 present !rw
write   a 0
expect  a 0 present rw
child: expect a 0 present !rw
`)
	if err != nil {
		log.Fatal(err)
	}
	for _, kernel := range litmus.Kernels() {
		r, err := litmus.Emulate(p, litmus.RunOn{Kernel: kernel})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.On(), r.Verdict, r.Checks, "checks")
	}
	// Output:
	// 6.1 pass 4 checks
	// 6.12 pass 4 checks
	// 7.2 pass 4 checks
}
