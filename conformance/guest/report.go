//go:build linux && amd64

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// locating are the kernel symbols that say where tables and regions are.
var locating = []string{
	"_text", "_stext", "_end", "init_top_pgt", "swapper_pg_dir", "init_task", "init_mm", "phys_base",
	"page_offset_base", "vmalloc_base", "vmemmap_base", "pgdir_shift", "__pgtable_l5_enabled",
	"empty_zero_page", "zero_page_pfn", "huge_zero_pfn",
}

// source is a file whose lines are printed under a prefix.
type source struct {
	prefix, path string
	keep         func(line string) bool
}

var machineSources = []source{
	{"S", "/proc/self/smaps", all},
	{"K", "/proc/kallsyms", isLocating},
	{"C", "/proc/cpuinfo", isCPUFact},
	{"W", "/proc/swaps", all},
	{"I", "/proc/iomem", all},
	{"V", "/proc/version", all},
	{"V", "/proc/cmdline", all},
	{"V", "/sys/devices/system/cpu/vulnerabilities/meltdown", all},
	{"V", "/sys/devices/system/cpu/vulnerabilities/l1tf", all},
}

// report prints everything that the package comment lists, up to READY.
func report(console io.Writer, regions []*region) error {
	out := bufio.NewWriterSize(console, 1<<16)
	fmt.Fprintln(out, "PID", os.Getpid())
	for _, r := range regions {
		words, err := r.pagemap()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "REGION %s %x %x\n", r.name, r.addr, len(r.mem))
		for i, word := range words {
			fmt.Fprintf(out, "PM %x %016x\n", r.addr+uintptr(i*pageSize), word)
		}
	}
	fmt.Fprintln(out, "MAPS")
	for _, s := range machineSources {
		if err := copyLines(out, s.prefix, s.path, s.keep); err != nil {
			return err
		}
	}
	return out.Flush()
}

func copyLines(out io.Writer, prefix, path string, keep func(string) bool) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if keep(lines.Text()) {
			fmt.Fprintln(out, prefix, lines.Text())
		}
	}
	return lines.Err()
}

func all(string) bool { return true }

func isLocating(line string) bool {
	fields := strings.Fields(line)
	return len(fields) == 3 && slices.Contains(locating, fields[2])
}

// isCPUFact keeps the facts that decide the form of the tables.
func isCPUFact(line string) bool {
	for _, name := range []string{"processor", "model name", "flags", "bugs", "address sizes"} {
		if strings.HasPrefix(line, name) {
			return true
		}
	}
	return false
}
