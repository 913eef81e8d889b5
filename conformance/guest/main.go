//go:build linux && amd64

// Command guest is the init program of the captures: it runs as process 1 of a
// virtual machine, puts memory into known states, prints on the serial console what
// the kernel says of it, and then spins in user mode so that the machine can be
// stopped with this process's tables loaded.
//
// The environment variable PTEMU_GUEST, which the kernel takes from its command line,
// says what is built: regions of this one process (the default), "processes" of many
// kinds, "plain" ones only, or "many" of one kind.
//
// It prints, one fact a line. Of its own regions:
//
//	REGION name start length   a region, followed by one PM line per page
//	PM va word                 the page's word in /proc/self/pagemap, read as root
//	S text                     /proc/self/smaps
//
// Of every process, in the other modes; each line belongs to the P line before it:
//
//	P pid tgid ppid state kind "comm"   kind is kernel or user
//	T tid "comm"               a task of the process besides the leader
//	U text                     a line with an amount: /proc/pid/status, /proc/pid/smaps_rollup
//	Q tid                      whose files follow, where the leader is gone
//	A text                     /proc/pid/smaps
//	R va pages word            pages with the same pagemap word; frames of present pages ascend by one
//	F frame maps flags         /proc/kpagecount and /proc/kpageflags, of frames that are mapped
//
// In all modes:
//
//	K text                     /proc/kallsyms: the symbols that locate the tables, or all of the kernel's own
//	C text                     /proc/cpuinfo: model, address sizes, flags
//	W text                     /proc/swaps
//	I text                     /proc/iomem
//	V text                     the kernel's release, its command line, meltdown and l1tf state
//	NOTE what error            the kernel refused a step; the words are still the truth
//	FAILED error               nothing more will come
//	READY                      all is printed; nothing changes from here on
//
// What must hold: after the first word of a region or process nothing touches it
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

// The main goroutine stays on the first thread, which is the one that has the process's name.
func init() { runtime.LockOSThread() }

func main() {
	// The collector would add page faults and signals while regions are read.
	debug.SetGCPercent(-1)
	if len(os.Args) > 2 && os.Args[1] == roleArgument {
		playRole(os.Args[2])
	}
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
	var err error
	switch mode := os.Getenv("PTEMU_GUEST"); mode {
	case "":
		err = runRegions(console)
	case "processes":
		err = runProcesses(console, roles)
	case "plain":
		err = runProcesses(console, plainRoles)
	case "many":
		err = runMany(console)
	default:
		err = fmt.Errorf("no such mode: %q", mode)
	}
	if err != nil {
		return err
	}
	// Nothing is allocated here: that could touch a page of which the word is already printed.
	unix.Write(int(console.Fd()), readyLine)
	drain(console)
	spin()
	return nil
}

var readyLine = []byte("READY\n")

// runRegions builds the regions of this process and prints them.
func runRegions(console *os.File) error {
	b := &builder{notes: console}
	if err := b.buildAll(); err != nil {
		return err
	}
	quietConsole()
	if err := report(console, b.regions); err != nil {
		return err
	}
	return holdCPU()
}

// spin never enters the kernel by itself; the clock interrupt still does.
func spin() {
	for {
	}
}
