//go:build linux && amd64

// Command guest is the init program of the captures: it runs as process 1 of a
// virtual machine, puts regions of its own address space into known states, prints
// on the serial console what the kernel says of each page, and then spins in user
// mode so that the machine can be stopped with this process's tables loaded.
//
// It prints, one fact a line:
//
//	REGION name start length   a region, followed by one PM line per page
//	PM va word                 the page's word in /proc/self/pagemap, read as root
//	S text                     /proc/self/smaps
//	K text                     /proc/kallsyms, the symbols that locate the tables
//	C text                     /proc/cpuinfo: model, address sizes, flags
//	W text                     /proc/swaps
//	I text                     /proc/iomem
//	V text                     the kernel's release, its command line, meltdown and l1tf state
//	NOTE region error          the kernel refused a step; the region's words are still the truth
//	FAILED error               nothing more will come
//	READY                      all is printed; nothing changes from here on
//
// What must hold: after the first PM line of a region nothing touches the region
// again, so words and tables belong to the same state; and a state that a kernel does
// not offer is reported, never imitated.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

func main() {
	// The collector would add page faults and signals while regions are read.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	console, err := setUp()
	if err == nil {
		err = run(console)
	}
	if console == nil {
		console = os.Stdout
	}
	fmt.Fprintln(console, "FAILED", err)
	drain(console)
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

// run builds, prints and then never returns unless something failed.
func run(console *os.File) error {
	b := &builder{notes: console}
	if err := b.buildAll(); err != nil {
		return err
	}
	quietConsole()
	if err := report(console, b.regions); err != nil {
		return err
	}
	if err := holdCPU(); err != nil {
		return err
	}
	fmt.Fprintln(console, "READY")
	drain(console)
	spin()
	return nil
}

// spin never enters the kernel by itself; the clock interrupt still does.
func spin() {
	for {
	}
}
