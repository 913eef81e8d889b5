// Command _asm writes the vector kernels of package ptescan, and their declarations. go generate in the package runs it.
package main

import (
	"flag"

	. "github.com/mmcloughlin/avo/build"

	// Whose types the kernels read.
	_ "ptemu/internal/ptescan"
	_ "ptemu/internal/ptescan/floor"
)

func main() {
	floor := flag.Bool("floor", false, "write the kernels of package floor")
	flag.Parse()
	ConstraintExpr("!purego")
	if *floor {
		Package("ptemu/internal/ptescan/floor")
		floors()
		floorCopies()
	} else {
		Package("ptemu/internal/ptescan")
		change512()
		change256()
		scans(true)
		scans(false)
	}
	Generate()
}
