//go:build linux && amd64

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runProcesses starts the roles, freezes them, and prints every process of the machine.
func runProcesses(console *os.File, list []role) error {
	// Roles inherit this processor, where the spinning at the end leaves them no time.
	if err := pinThread(0, 0); err != nil {
		return err
	}
	group, err := controlGroup()
	if err != nil {
		fmt.Fprintln(console, "NOTE control group", err)
	}
	if err := startRoles(console, list, group); err != nil {
		return err
	}
	if group >= 0 {
		if err := freeze(); err != nil {
			fmt.Fprintln(console, "NOTE freeze", err)
		}
	}
	quietConsole()
	if err := reportMachine(console, allOfKernel); err != nil {
		return err
	}
	if err := holdCPU(); err != nil {
		return err
	}
	return reportProcesses(console, true)
}

func startRoles(console *os.File, list []role, group int) error {
	memory, err := sharedMemory()
	if err != nil {
		return err
	}
	const more = 8 // huge pages besides the regions' own
	if err := os.WriteFile("/proc/sys/vm/nr_hugepages", []byte(strconv.Itoa(hugetlbPages+more)), 0); err != nil {
		return err
	}
	merging := false
	for _, r := range list {
		if _, err := r.start(group, console, memory); err != nil {
			return err
		}
		merging = merging || strings.HasPrefix(r.name, "ksm")
	}
	if !merging {
		return nil
	}
	if err := merge(); err != nil {
		fmt.Fprintln(console, "NOTE ksm", err)
	}
	return makeZombie()
}

// sharedMemory makes the memfd of the "shm" roles, with a few pages mapped here too.
func sharedMemory() (*os.File, error) {
	fd, err := unix.MemfdCreate("shared by all", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.Ftruncate(fd, regionPages*pageSize); err != nil {
		return nil, err
	}
	r, err := mapAt("memfd", regionBase, regionPages*pageSize, readWrite, unix.MAP_SHARED, fd, 0)
	if err != nil {
		return nil, err
	}
	r.write(40, 64)
	return os.NewFile(uintptr(fd), "memfd"), nil
}

// merge lets kernel samepage merging pass over all memory a few times, and stops it with its pages merged.
func merge() error {
	const dir = "/sys/kernel/mm/ksm/"
	if err := errors.Join(os.WriteFile(dir+"sleep_millisecs", []byte("1"), 0), os.WriteFile(dir+"pages_to_scan", []byte("1000"), 0),
		os.WriteFile(dir+"run", []byte("1"), 0)); err != nil {
		return err
	}
	for range 1000 {
		scans, err := os.ReadFile(dir + "full_scans")
		if err != nil {
			return err
		}
		if n, _ := strconv.Atoi(strings.TrimSpace(string(scans))); n >= 4 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return os.WriteFile(dir+"run", []byte("0"), 0)
}

// allOfKernel keeps the symbols that are not a module's.
func allOfKernel(line string) bool { return !strings.Contains(line, "\t[") }

// reportMachine prints what does not belong to a process.
func reportMachine(console *os.File, symbols func(line string) bool) error {
	out := bufio.NewWriterSize(console, 1<<16)
	sources := slices.DeleteFunc(slices.Clone(machineSources), func(s source) bool { return s.prefix == "S" })
	for _, s := range sources {
		if s.prefix == "K" {
			s.keep = symbols
		}
		if err := copyLines(out, s.prefix, s.path, s.keep); err != nil {
			return err
		}
	}
	return out.Flush()
}

// reportProcesses prints every process, this one last, and then the frames: what is printed of it must still be so afterwards.
func reportProcesses(console *os.File, pages bool) error {
	s, err := newScribe(console, pages)
	if err != nil {
		return err
	}
	self := os.Getpid()
	pids := append([]int(nil), s.numbers("/proc")...)
	for _, pid := range pids {
		if pid == self {
			continue
		}
		s.process(pid)
		s.flush()
	}
	const tries = 50
	for range tries {
		s.process(self)
		first := append(s.spare[:0], s.out...)
		s.out = s.out[:0]
		s.process(self)
		if string(first) == string(s.out) {
			s.flush()
			if pages {
				s.frames()
			}
			return s.err
		}
		s.out = s.out[:0]
	}
	return fmt.Errorf("this process does not stand still: %w", errShort)
}
