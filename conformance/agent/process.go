//go:build linux && amd64

package main

import (
	"fmt"
	"os"

	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

// runAsProcess is the agent as an ordinary process: see [wire.AsProcess]. It does not return. However it ends, no process
// of its own stays behind.
func runAsProcess() {
	err := mapBlock(wire.BlockFile)
	if err == nil {
		err = openPipes()
	}
	if err == nil {
		unix.CloseOnExec(wire.BlockFile)
		portFile = wire.BellFile
		growStack()
		err = answerBells()
		reset()
	}
	fmt.Fprintln(os.Stderr, "agent:", err)
	os.Exit(1)
}
