//go:build linux && amd64

package main

import (
	"unsafe"

	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

// mapBlock maps the block from an open file, and touches every page.
func mapBlock(fd uintptr) error {
	got, _, errno := unix.RawSyscall6(unix.SYS_MMAP, wire.Base, wire.Pages*wire.PageSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_FIXED_NOREPLACE|unix.MAP_POPULATE, fd, 0)
	if errno != 0 {
		return errno
	}
	// SAFETY: as in shareMemory.
	block = *(**[wire.Pages * wire.PageSize]byte)(unsafe.Pointer(&got))
	return nil
}
