//go:build linux && amd64

// Command agent is the init program of the machines that litmus programs run on. It performs what the host asks for,
// in processes that the host makes and forks as the program says; package wire is the protocol.
//
// The processes are clones of process 1 without exec. Of the Go runtime they have only the thread that cloned, so they
// keep to raw system calls: no goroutines, no allocation, no growth of the stack. The collector and preemption are off.
//
// Accesses are real instructions in user mode. Signals that they raise come to a handler in assembly, which notes them and
// leaves the access.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

func main() {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	if len(os.Args) > 1 && os.Args[1] == wire.AsProcess {
		runAsProcess()
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "agent: not process 1; this would mount, swap and reboot")
		os.Exit(1)
	}
	err := setUp()
	if err == nil {
		err = shareMemory()
	}
	if err == nil {
		growStack()
		err = serve()
	}
	fmt.Fprintln(os.Stderr, "FAILED", err)
	unix.Sync()
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}
