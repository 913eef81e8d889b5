//go:build linux && amd64

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// setUp mounts what the regions need, loads the modules and stops the kernel's own
// background work on page tables. It returns the serial console.
func setUp() (*os.File, error) {
	mounts := []struct{ fs, dir, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"tmpfs", "/shm", ""},
		{"tmpfs", "/hugeshm", "huge=always"},
	}
	for _, m := range mounts {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return nil, err
		}
		err := unix.Mount(m.fs, m.dir, m.fs, 0, m.options)
		if m.options != "" && errors.Is(err, unix.EINVAL) {
			err = unix.Mount(m.fs, m.dir, m.fs, 0, "") // PREEMPT_RT has no huge pages
		}
		if err != nil && !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	console, err := os.OpenFile("/dev/ttyS0", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(console, "WORKLOAD START")
	if err := loadModules(console); err != nil {
		return console, err
	}
	quietKernel(console)
	// The first device is preferred and small, so that both swap types occur. Without the module there is none.
	for i, pages := range []uint32{256, 4096} {
		if err := startSwap(fmt.Sprintf("/dev/ram%d", i), pages, 2-i); err != nil {
			fmt.Fprintln(console, "NOTE swap", err)
		}
	}
	return console, nil
}

// loadModules loads /modules/*.ko in the order of their names.
func loadModules(console *os.File) error {
	paths, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	sort.Strings(paths)
	for _, path := range paths {
		parameters := ""
		if strings.HasSuffix(path, "brd.ko") {
			parameters = "rd_nr=2 rd_size=16384"
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(file.Fd()), parameters, 0)
		file.Close()
		if err != nil {
			fmt.Fprintln(console, "NOTE module", path, err)
		}
	}
	return nil
}

// quietKernel switches off whatever changes entries behind the regions' back. A
// switch that this kernel does not have is no loss.
func quietKernel(console *os.File) {
	settings := []struct{ path, value string }{
		{"/sys/kernel/mm/lru_gen/enabled", "0"},
		{"/proc/sys/vm/watermark_boost_factor", "0"},
		{"/proc/sys/vm/compaction_proactiveness", "0"},
		{"/proc/sys/kernel/numa_balancing", "0"},
		{"/proc/sys/kernel/kptr_restrict", "0"},
		{"/proc/sys/kernel/sched_rt_runtime_us", "-1"},
		{"/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "100000000"},
		{"/sys/kernel/mm/transparent_hugepage/enabled", "madvise"},
		{"/sys/kernel/mm/transparent_hugepage/defrag", "madvise"},
		{"/sys/kernel/mm/transparent_hugepage/use_zero_page", "1"},
		{"/proc/sys/vm/nr_hugepages", strconv.Itoa(hugetlbPages)},
	}
	for _, s := range settings {
		if err := os.WriteFile(s.path, []byte(s.value), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(console, "NOTE setting", err)
		}
	}
}

// startSwap writes the header of a swap area of some pages on a block device and
// switches swapping to it on. The area with the highest priority is used first.
func startSwap(device string, pages uint32, priority int) error {
	const infoOffset, magicOffset = 1024, pageSize - 10
	header := make([]byte, pageSize)
	binary.LittleEndian.PutUint32(header[infoOffset:], 1)
	binary.LittleEndian.PutUint32(header[infoOffset+4:], pages-1)
	copy(header[magicOffset:], "SWAPSPACE2")
	if err := os.WriteFile(device, header, 0); err != nil {
		return err
	}
	if err := swapOn(device, priority); err != nil {
		return fmt.Errorf("swapon %s: %w", device, err)
	}
	return nil
}

// quietConsole keeps kernel messages from breaking our lines.
func quietConsole() {
	const setConsoleLevel = 8
	unix.Syscall(unix.SYS_SYSLOG, setConsoleLevel, 0, 1)
}

// drain waits until the serial port has sent everything.
func drain(console *os.File) {
	unix.IoctlSetInt(int(console.Fd()), unix.TCSBRK, 1)
}

// pinThread binds a thread (0: the calling one) to a processor.
func pinThread(tid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(tid, &set)
}

// holdCPU moves the calling thread to processor 0 with real-time priority and puts
// every other thread of the process behind it, so that processor 0 stays in this
// thread and the other processors go idle with this address space still loaded.
func holdCPU() error {
	lastCPU := 0
	for cpu := 1; pinThread(0, cpu) == nil; cpu++ {
		// Having run here leaves our tables as the ones that the idle task borrows.
		lastCPU = cpu
	}
	if err := pinThread(0, 0); err != nil {
		return err
	}
	self := unix.Gettid()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil || tid == self {
			continue
		}
		if err := pinThread(tid, lastCPU); err != nil {
			return err
		}
	}
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}, 0)
}
