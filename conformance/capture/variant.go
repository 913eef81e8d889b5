package main

import (
	"fmt"
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
	// raw also keeps the memory itself, and a LiME file made from it.
	raw bool
}

const memoryMiB = 256

var variants = []variant{
	{name: "linux-7.2-4level-nopti", kernel: "7.2", cpu: "max,la57=off", cpus: 1, options: "pti=off", raw: true,
		what: "4 levels, one CPU, no PTI; raw and LiME too"},
	{name: "linux-7.2-la57-pti-2cpu", kernel: "7.2", cpu: "max", cpus: 2, options: "pti=on",
		what: "5 levels, two CPUs, PTI"},
	{name: "linux-6.12-4level-pti-2cpu", kernel: "6.12", cpu: "Skylake-Client-v1", cpus: 2,
		what: "4 levels, two CPUs, a processor with Meltdown and L1TF, so PTI by itself"},
	{name: "linux-6.1-la57-nokaslr", kernel: "6.1", cpu: "qemu64,+la57,+smep,+smap,+pku,+nx", cpus: 1, options: "nokaslr",
		what: "5 levels, one CPU, no KASLR"},
	{name: "linux-6.1-no5lvl-pti", kernel: "6.1", cpu: "max", cpus: 1, options: "no5lvl pti=on",
		what: "4 levels on a processor that has 5, PTI"},
	{name: "linux-6.12-la57-nopti", kernel: "6.12", cpu: "max", cpus: 1, options: "pti=off",
		what: "5 levels, one CPU, no PTI"},
}

func findVariant(name string) (variant, error) {
	for _, v := range variants {
		if v.name == name {
			return v, nil
		}
	}
	return variant{}, fmt.Errorf("no such variant (capture -list)")
}

// qemuArgs are the arguments that shape the machine; files and channels come on top.
func (v variant) qemuArgs() []string {
	return []string{
		"-machine", "pc", "-accel", "tcg", "-cpu", v.cpu, "-smp", strconv.Itoa(v.cpus), "-m", strconv.Itoa(memoryMiB),
		"-nodefaults", "-vga", "std", "-display", "none", "-device", "vmcoreinfo", "-no-reboot",
	}
}

// kernelArgs switch off what changes entries by itself, and the Go runtime's signals.
func (v variant) kernelArgs() string {
	return strings.TrimSpace("console=ttyS0 quiet panic=-1 numa_balancing=disable damon_stat.enabled=0 " +
		"GODEBUG=asyncpreemptoff=1 " + v.options)
}
