//go:build linux && amd64

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// setUp mounts what programs need, loads the modules and stops the kernel's own work on page tables.
func setUp() error {
	mounts := []struct{ fs, dir, options string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", ""}, {"tmpfs", "/shm", "huge=never"},
		{"tmpfs", "/hugeshm", "huge=always"}, {"ramfs", "/ramfs", ""}, {"debugfs", "/sys/kernel/debug", ""},
	}
	for _, m := range mounts {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.fs, m.dir, m.fs, 0, m.options); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	quietKernel()
	if err := startSwap("/dev/ram0", 4097); err != nil {
		return err
	}
	if err := mountDisk(); err != nil {
		return err
	}
	// From here on the console is ours alone.
	const setConsoleLevel = 8
	unix.Syscall(unix.SYS_SYSLOG, setConsoleLevel, 0, 1)
	return nil
}

// loadModules loads /modules/*.ko in the order of their names.
func loadModules() error {
	paths, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	slices.Sort(paths)
	for _, path := range paths {
		parameters := ""
		if strings.HasSuffix(path, "brd.ko") {
			parameters = "rd_nr=2 rd_size=32768"
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(file.Fd()), parameters, 0); err != nil {
			fmt.Println("NOTE module", path, err)
		}
		file.Close()
	}
	return nil
}

// quietKernel switches off whatever changes entries behind the programs' back. A switch that this kernel does not
// have is no loss.
func quietKernel() {
	settings := []struct{ path, value string }{
		{"/sys/kernel/mm/lru_gen/enabled", "0"},
		{"/proc/sys/vm/watermark_boost_factor", "0"},
		{"/proc/sys/vm/compaction_proactiveness", "0"},
		{"/proc/sys/vm/page-cluster", "0"},
		{"/proc/sys/vm/dirty_writeback_centisecs", "0"},
		{"/proc/sys/vm/overcommit_memory", "1"},
		{"/proc/sys/kernel/numa_balancing", "0"},
		{"/sys/kernel/debug/sched/numa_balancing/scan_delay_ms", "1"},
		{"/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms", "1"},
		{"/sys/kernel/debug/sched/numa_balancing/scan_period_max_ms", "10"},
		{"/sys/kernel/debug/sched/numa_balancing/scan_size_mb", "16"},
		{"/proc/sys/kernel/kptr_restrict", "0"},
		{"/proc/sys/kernel/print-fatal-signals", "0"},
		{"/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "100000000"},
		{"/sys/kernel/mm/transparent_hugepage/khugepaged/alloc_sleep_millisecs", "100000000"},
		{"/sys/kernel/mm/transparent_hugepage/enabled", "madvise"},
		{"/sys/kernel/mm/transparent_hugepage/defrag", "always"},
		{"/sys/kernel/mm/transparent_hugepage/use_zero_page", "1"},
		{"/sys/kernel/mm/transparent_hugepage/shmem_enabled", "never"},
	}
	for _, s := range settings {
		if err := os.WriteFile(s.path, []byte(s.value), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Println("NOTE setting", err)
		}
	}
}

// startSwap writes the header of a swap area on a block device and switches swapping to it on.
func startSwap(device string, pages uint32) error {
	const infoOffset, size = 1024, 4096
	header := make([]byte, size)
	binary.LittleEndian.PutUint32(header[infoOffset:], 1)
	binary.LittleEndian.PutUint32(header[infoOffset+4:], pages-1)
	copy(header[size-10:], "SWAPSPACE2")
	if err := os.WriteFile(device, header, 0); err != nil {
		return err
	}
	if err := swapOn(device); err != nil {
		return fmt.Errorf("swapon %s: %w", device, err)
	}
	return nil
}
