//go:build linux && amd64

package main

import (
	"os"
	"unsafe"

	"ptemu/conformance/wire"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a page of hugetlbfs, as far as the block is concerned.
const hugePage = 2 << 20

// words is the first page of a slot.
type words [wire.PageSize / 8]uint64

// block is the shared memory, mapped by shareMemory.
var block *[wire.Pages * wire.PageSize]byte

// shareMemory maps the block, which all processes to come share, and touches every page. It lies in a page of hugetlbfs,
// which the kernel does not move.
func shareMemory() error {
	if err := os.WriteFile("/proc/sys/vm/nr_hugepages", []byte("1"), 0); err != nil {
		return err
	}
	got, _, errno := unix.RawSyscall6(unix.SYS_MMAP, wire.Base, hugePage, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE|unix.MAP_HUGETLB, ^uintptr(0), 0)
	if errno != 0 {
		return errno
	}
	// SAFETY: the kernel has just mapped the block outside the Go heap, and it stays mapped for ever. Reading the
	// pointer through its own address is how a number that is no Go pointer becomes one.
	block = *(**[wire.Pages * wire.PageSize]byte)(unsafe.Pointer(&got))
	block[0] = 0
	return nil
}

// slot returns the words of a slot.
func slot(n int) *words {
	// SAFETY: a slot begins at a page's address within the block.
	return (*words)(unsafe.Pointer(&block[n*wire.SlotPages*wire.PageSize]))
}

// data returns the data of a slot.
func data(n int) []byte { return block[(n*wire.SlotPages+1)*wire.PageSize:][:wire.PageSize] }

// SAFETY of all below: addresses of package variables, which never move, for raw system calls.

func actionAddress() uintptr     { return uintptr(unsafe.Pointer(&action)) }
func usageAddress(i int) uintptr { return uintptr(unsafe.Pointer(&usage[i])) }
func bellAddress() uintptr       { return uintptr(unsafe.Pointer(&bell)) }
func statusAddress() uintptr     { return uintptr(unsafe.Pointer(&status)) }
func messageAddress() uintptr    { return uintptr(unsafe.Pointer(&message)) }
func pollSetsAddress() uintptr   { return uintptr(unsafe.Pointer(&pollSets)) }
func pollAddress() uintptr       { return uintptr(unsafe.Pointer(&pollSet)) }

// swapOn is swapon(2).
func swapOn(device string) error {
	path, err := unix.BytePtrFromString(device)
	if err != nil {
		return err
	}
	// SAFETY: path is a NUL-terminated string that lives across the call.
	_, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
