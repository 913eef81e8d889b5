//go:build linux && amd64

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFixed maps memory at an address that nothing else in the process uses.
func mapFixed(addr uintptr, length, prot, flags, fd int, offset int64) ([]byte, error) {
	got, _, errno := unix.Syscall6(unix.SYS_MMAP, addr, uintptr(length), uintptr(prot),
		uintptr(flags|unix.MAP_FIXED_NOREPLACE), uintptr(fd), uintptr(offset))
	if errno != 0 {
		return nil, errno
	}
	// SAFETY: the kernel has just mapped [got, got+length) outside the Go heap, and it
	// stays mapped until the machine ends. Reading the pointer through its own address
	// is how a number that is no Go pointer becomes one.
	start := *(**byte)(unsafe.Pointer(&got))
	return unsafe.Slice(start, length), nil
}

// ioctlStruct passes a structure that the kernel reads and may fill.
func ioctlStruct[T any](fd int, request uintptr, argument *T) error {
	// SAFETY: argument points to a T that lives across the call; callers pair request
	// and T as the kernel's headers do.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(argument)))
	if errno != 0 {
		return errno
	}
	return nil
}

// swapOn is swapon(2) with a priority.
func swapOn(device string, priority int) error {
	path, err := unix.BytePtrFromString(device)
	if err != nil {
		return err
	}
	const preferFlag = 0x8000
	// SAFETY: path is a NUL-terminated string that lives across the call.
	_, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), uintptr(preferFlag|priority), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
