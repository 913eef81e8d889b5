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

// addrOf is the address of memory that outlives its use as a number: mapped, or kept by its caller.
func addrOf(mem []byte) uintptr {
	// SAFETY: only the number is taken.
	return uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
}

// touchRaw reads or writes a byte of each page, in a child that has no runtime.
//
//go:nosplit
//go:norace
func touchRaw(addr, length uintptr, write bool) {
	for at := addr; at < addr+length; at += pageSize {
		// SAFETY: the parent's list names memory that is mapped in the child, by the parent or by
		// a step of the list before. Reading the pointer through its own address is how a number
		// that is no Go pointer becomes one.
		p := *(**byte)(unsafe.Pointer(&at))
		if write {
			*p = byte(at>>12) | 1
		} else {
			rawSink += *p
		}
	}
}

var rawSink byte

// withPointer calls a system call whose argument number where (from 0) points to *argument.
func withPointer[T any](argument *T, where int, call uintptr, args ...uintptr) (uintptr, error) {
	var a [6]uintptr
	copy(a[:], args)
	// SAFETY: argument points to a T that is kept alive to the end of the call by the caller's
	// variable, and heap and stack of this goroutine do not move during a raw system call.
	a[where] = uintptr(unsafe.Pointer(argument))
	r, _, errno := unix.RawSyscall6(call, a[0], a[1], a[2], a[3], a[4], a[5])
	keepAlive = unsafe.Pointer(argument)
	if errno != 0 {
		return r, errno
	}
	return r, nil
}

// keepAlive makes arguments of system calls escape.
var keepAlive unsafe.Pointer
