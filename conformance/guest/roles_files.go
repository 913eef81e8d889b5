//go:build linux && amd64

package main

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// fileKinds are mappings of files of every sort.
var fileKinds = []step{
	{"init", buildInitMapped},
	{"deep", func(b *builder) error { return b.namedFile("deep", "/shm/a dir/b/c/"+strings.Repeat("long", 40)) }},
	{"newline", func(b *builder) error { return b.namedFile("newline", "/shm/new\nline") }},
	{"backslash", func(b *builder) error { return b.namedFile("backslash", `/shm/back\slash "q" `+"größe") }},
	{"not_deleted", func(b *builder) error { return b.namedFile("not_deleted", "/shm/file (deleted)") }},
	{"deleted", buildDeleted},
	{"rootfs", func(b *builder) error { return b.namedFile("rootfs", "/tmp-file") }},
	{"memfd", func(b *builder) error { return b.memfd("memfd", "name of memfd", 0, regionPages*pageSize) }},
	{"memfd_huge", func(b *builder) error { return b.memfd("memfd_huge", "huge", unix.MFD_HUGETLB, hugeSize) }},
	{"dev_zero_shared", func(b *builder) error { return b.device("dev_zero_shared", "/dev/zero", unix.MAP_SHARED) }},
	{"dev_zero_private", func(b *builder) error { return b.device("dev_zero_private", "/dev/zero", unix.MAP_PRIVATE) }},
	{"hugetlb", func(b *builder) error { return buildHugetlb(b) }},
	{"io_uring", buildRing},
	{"perf", buildPerf},
	{"device", func(b *builder) error { return buildDevice(b, "device", "resource0", 0) }},
	{"thp_file", buildShmemTHP},
}

func buildFiles(b *builder) error {
	b.perform(fileKinds)
	return nil
}

// buildInitMapped maps a part of this program from the initial file system: pages of its text, executable.
func buildInitMapped(b *builder) error {
	file, err := os.Open("/init")
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := b.add("init", 32*pageSize, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_PRIVATE, int(file.Fd()), 16*pageSize)
	if err != nil {
		return err
	}
	r.read(0, 8)
	w, err := b.add("init_written", 8*pageSize, readWrite, unix.MAP_PRIVATE, int(file.Fd()), 0)
	if err != nil {
		return err
	}
	w.read(0, 8)
	w.write(2, 4)
	return nil
}

// namedFile maps a new file of that path twice: shared and written, and privately from its third page on.
func (b *builder) namedFile(name, path string) error {
	if at := strings.LastIndexByte(path, '/'); at > 0 {
		if err := os.MkdirAll(path[:at], 0o755); err != nil {
			return err
		}
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(8 * pageSize); err != nil {
		return err
	}
	shared, err := b.add(name, 8*pageSize, readWrite, unix.MAP_SHARED, int(file.Fd()), 0)
	if err != nil {
		return err
	}
	shared.write(0, 6)
	private, err := b.add(name+"_private", 4*pageSize, readWrite, unix.MAP_PRIVATE, int(file.Fd()), 2*pageSize)
	if err != nil {
		return err
	}
	private.read(0, 4)
	private.write(1, 2)
	return nil
}

func buildDeleted(b *builder) error {
	const path = "/shm/to be deleted"
	if err := b.namedFile("deleted", path); err != nil {
		return err
	}
	return os.Remove(path)
}

func (b *builder) memfd(name, label string, flags, length int) error {
	fd, err := unix.MemfdCreate(label, flags)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, int64(length)); err != nil {
		return err
	}
	r, err := b.add(name, length, readWrite, unix.MAP_SHARED, fd, 0)
	if err != nil {
		return err
	}
	r.write(0, 1)
	return nil
}

func (b *builder) device(name, path string, flags int) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	r, err := b.add(name, 16*pageSize, readWrite, flags, int(file.Fd()), 0)
	if err != nil {
		return err
	}
	r.read(0, 16)
	r.write(0, 4)
	return nil
}

// buildRing maps the rings of an io_uring: kernel memory in user space.
func buildRing(b *builder) error {
	var params [120]byte
	fd, err := withPointer(&params, 1, unix.SYS_IO_URING_SETUP, 8)
	if err != nil {
		return err
	}
	// The kernel chooses the address.
	mem, err := unix.Mmap(int(fd), 0, pageSize, readWrite, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	sink += mem[0]
	return nil
}

// buildPerf maps the buffer of a counter.
func buildPerf(b *builder) error {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY, Size: uint32(unix.PERF_ATTR_SIZE_VER0)}
	fd, err := unix.PerfEventOpen(&attr, 0, -1, -1, 0)
	if err != nil {
		return err
	}
	r, err := b.add("perf", 3*pageSize, readWrite, unix.MAP_SHARED, fd, 0)
	if err != nil {
		return err
	}
	r.read(0, r.pages())
	return nil
}

// buildJIT has code that is written: one area with all rights, and one file mapped twice, writable here and executable there.
func buildJIT(b *builder) error {
	all := readWrite | unix.PROT_EXEC
	r, err := b.add("all_rights", 16*pageSize, all, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, -1, 0)
	if err != nil {
		return err
	}
	r.write(0, 8)
	fd, err := unix.MemfdCreate("jit-cache", 0)
	if err != nil {
		return err
	}
	if err := unix.Ftruncate(fd, 16*pageSize); err != nil {
		return err
	}
	w, errWrite := b.add("jit_writer", 16*pageSize, readWrite, unix.MAP_SHARED, fd, 0)
	x, errRun := b.add("jit_runner", 16*pageSize, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_SHARED, fd, 0)
	if err := errors.Join(errWrite, errRun); err != nil {
		return err
	}
	w.write(0, 8)
	x.read(0, 8)
	return nil
}
