//go:build linux && amd64

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// fileSteps build the regions that map files and device memory.
var fileSteps = []step{
	{"file_private", buildFilePrivate},
	{"file_shared", buildFileShared},
	{"file_ro", buildFileReadOnly},
	{"shmem_thp", buildShmemTHP},
	{"device_uc", func(b *builder) error { return buildDevice(b, "device_uc", "resource0", 0) }},
	{"device_wc", func(b *builder) error { return buildDevice(b, "device_wc", "resource0_wc", hugeSize) }},
}

// buildFilePrivate reads all pages of a file and writes a quarter: those are copies.
func buildFilePrivate(b *builder) error {
	r, err := b.file("file_private", "/shm", regionPages*pageSize, readWrite, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	r.read(0, r.pages())
	r.write(0, 16)
	return nil
}

func buildFileShared(b *builder) error {
	r, err := b.file("file_shared", "/shm", regionPages*pageSize, readWrite, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.write(0, 48)
	r.read(48, r.pages())
	return nil
}

func buildFileReadOnly(b *builder) error {
	r, err := b.file("file_ro", "/shm", regionPages*pageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.read(0, 32)
	return nil
}

// buildShmemTHP maps two huge pages of a file system that makes them.
func buildShmemTHP(b *builder) error {
	r, err := b.file("shmem_thp", "/hugeshm", 2*hugeSize, readWrite, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.write(0, 1)
	r.read(hugeSize/pageSize, hugeSize/pageSize+1)
	return nil
}

// buildDevice maps the frame buffer of the display adapter, which is not memory to
// the kernel: no page structure, and a cache type of its own.
func buildDevice(b *builder, name, resource string, offset int64) error {
	classes, err := filepath.Glob("/sys/bus/pci/devices/*/class")
	if err != nil {
		return err
	}
	for _, path := range classes {
		class, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		const display = "0x03"
		if !strings.HasPrefix(string(class), display) {
			continue
		}
		file, err := os.OpenFile(filepath.Join(filepath.Dir(path), resource), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = b.add(name, 16*pageSize, readWrite, unix.MAP_SHARED, int(file.Fd()), offset)
		return err
	}
	return fmt.Errorf("no display adapter: %w", errShort)
}
