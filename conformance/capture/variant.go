package main

import (
	"strconv"
	"strings"
)

// variant is one machine and kernel to capture.
type variant struct {
	name   string
	kernel string
	what   string
	cpu    string // QEMU -cpu
	cpus   int
	// options are added to the kernel's command line.
	options string
	// mode is the guest's PTEMU_GUEST; "" builds regions of one process.
	mode string
	// memoryMiB is the machine's memory, 0 for the usual.
	memoryMiB int
	// dumps are made of the memory.
	dumps []dump
	// raw also keeps the memory itself, and a LiME file made from it.
	raw bool
}

// Machines with a choice of paging on the same processor.
const (
	maxProcessor   = "max"
	fourLevels     = "max,la57=off"
	withMeltdown   = "Skylake-Client-v1" // and L1TF: PTI by itself, without PCID
	smallProcessor = "qemu64,+la57,+smep,+smap,+pku,+nx"
)

// manyMode is the guest that prints no pages.
const manyMode = "many"

var variants = []variant{
	{name: "linux-7.2-4level-nopti", kernel: "7.2", cpu: fourLevels, cpus: 1, options: "pti=off", dumps: everyDump, raw: true,
		what: "4 levels, one CPU, no PTI; raw and LiME too"},
	{name: "linux-7.2-la57-pti-2cpu", kernel: "7.2", cpu: maxProcessor, cpus: 2, options: "pti=on", dumps: everyDump,
		what: "5 levels, two CPUs, PTI"},
	{name: "linux-6.12-4level-pti-2cpu", kernel: "6.12", cpu: withMeltdown, cpus: 2, dumps: everyDump,
		what: "4 levels, two CPUs, a processor with Meltdown and L1TF, so PTI by itself"},
	{name: "linux-6.1-la57-nokaslr", kernel: "6.1", cpu: smallProcessor, cpus: 1, options: "nokaslr", dumps: everyDump,
		what: "5 levels, one CPU, no KASLR"},
	{name: "linux-6.1-no5lvl-pti", kernel: "6.1", cpu: maxProcessor, cpus: 1, options: "no5lvl pti=on", dumps: everyDump,
		what: "4 levels on a processor that has 5, PTI"},
	{name: "linux-6.12-la57-nopti", kernel: "6.12", cpu: maxProcessor, cpus: 1, options: "pti=off", dumps: everyDump,
		what: "5 levels, one CPU, no PTI"},

	{name: "procs-7.2-4level", kernel: "7.2", cpu: fourLevels, cpus: 1, mode: "processes", memoryMiB: 512, dumps: processDumps,
		what: "processes of many kinds; 4 levels, KASLR"},
	{name: "procs-7.2-la57-pti", kernel: "7.2", cpu: maxProcessor, cpus: 1, options: "pti=on", mode: "processes", memoryMiB: 512, dumps: processDumps,
		what: "processes of many kinds; 5 levels, KASLR, PTI"},
	{name: "procs-6.12-la57-2cpu", kernel: "6.12", cpu: maxProcessor, cpus: 2, mode: "processes", memoryMiB: 512, dumps: processDumps,
		what: "processes of many kinds; 5 levels, KASLR, two CPUs"},
	{name: "procs-6.1-4level-pti", kernel: "6.1", cpu: fourLevels, cpus: 1, options: "pti=on vsyscall=emulate", mode: "processes", memoryMiB: 512, dumps: processDumps,
		what: "processes of many kinds; 4 levels, KASLR, PTI, a readable vsyscall page"},
	{name: "procs-6.12-4level-nokaslr", kernel: "6.12", cpu: fourLevels, cpus: 1, options: "nokaslr", mode: "processes", memoryMiB: 512, dumps: processDumps,
		what: "processes of many kinds; 4 levels, no KASLR"},

	{name: "audit-7.2-rodata-off", kernel: "7.2", cpu: fourLevels, cpus: 1, options: "rodata=off", mode: "plain", dumps: processDumps,
		what: "a kernel whose text stays writable; ordinary processes"},
	{name: "audit-6.12-pti-text", kernel: "6.12", cpu: withMeltdown, cpus: 1, mode: "plain", dumps: processDumps,
		what: "PTI on a processor without PCID: the kernel's text is in the user's tables; ordinary processes"},
	{name: "plain-7.2-4level", kernel: "7.2", cpu: fourLevels, cpus: 1, mode: "plain", dumps: processDumps,
		what: "ordinary processes"},
	{name: "plain-6.1-4level-pti", kernel: "6.1", cpu: fourLevels, cpus: 1, options: "pti=on", mode: "plain", dumps: processDumps,
		what: "ordinary processes, PTI"},
	{name: "many-7.2", kernel: "7.2", cpu: fourLevels, cpus: 1, mode: manyMode, memoryMiB: 2048, dumps: everyDump[:1],
		what: "a thousand processes that map 20 GiB together; for measurements"},
}

// usual are the variants that are made when none is named.
func usual() []variant {
	n := 0
	for n < len(variants) && variants[n].mode == "" {
		n++
	}
	return variants[:n]
}

// findVariant returns the variant of a name: one of the list, or one that the name describes.
func findVariant(name string) (variant, error) {
	for _, v := range variants {
		if v.name == name {
			return v, nil
		}
	}
	return describedVariant(name)
}

// memory is the machine's memory in MiB.
func (v variant) memory() int {
	const usual = 256
	if v.memoryMiB == 0 {
		return usual
	}
	return v.memoryMiB
}

// qemuArgs are the arguments that shape the machine; files and channels come on top.
func (v variant) qemuArgs() []string {
	return []string{
		"-machine", "pc", "-accel", "tcg", "-cpu", v.cpu, "-smp", strconv.Itoa(v.cpus), "-m", strconv.Itoa(v.memory()),
		"-nodefaults", "-vga", "std", "-display", "none", "-device", "vmcoreinfo", "-no-reboot",
	}
}

// kernelArgs switch off what changes entries by itself, the Go runtime's signals, and checks of interrupts that fail where
// the host is busy. What the kernel does not know becomes the guest's environment.
func (v variant) kernelArgs() string {
	args := "console=ttyS0 quiet panic=-1 no_timer_check noirqdebug numa_balancing=disable damon_stat.enabled=0 GODEBUG=asyncpreemptoff=1 " + v.options
	if v.mode != "" {
		args += " PTEMU_GUEST=" + v.mode
	}
	return strings.TrimSpace(args)
}
