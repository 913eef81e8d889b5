//go:build linux && amd64

package host

import (
	"unsafe"

	"ptemu/arch/x86"
	"ptemu/mm"

	"golang.org/x/sys/unix"
)

// scanArgs is the argument of PAGEMAP_SCAN. Linux: include/uapi/linux/fs.h:struct pm_scan_arg
type scanArgs struct {
	size, flags                    uint64
	start, end, walkEnd            uint64
	vec, vecLen, maxPages          uint64
	inverted, mask, anyOf, returns uint64
}

// scanRegion is part of its answer. Linux: include/uapi/linux/fs.h:struct page_region
type scanRegion struct {
	start, end, categories uint64
}

const pagemapScan = 0xc0606610

// scan asks for the categories of the pages from va on. fd is a pagemap.
func scan(fd int, va x86.Virt, categories []mm.Category, all mm.Category) error {
	out := make([]scanRegion, len(categories))
	end := uint64(va) + uint64(len(categories))*x86.PageSize
	// SAFETY: args and out live across the call; the kernel writes at most vecLen regions.
	args := scanArgs{
		start: uint64(va), end: end, vec: uint64(uintptr(unsafe.Pointer(&out[0]))), vecLen: uint64(len(out)), returns: uint64(all),
	}
	args.size = uint64(unsafe.Sizeof(args))
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pagemapScan, uintptr(unsafe.Pointer(&args)))
	if errno != 0 {
		return errno
	}
	clear(categories)
	for _, r := range out[:n] {
		for at := r.start; at < r.end; at += x86.PageSize {
			categories[(at-uint64(va))/x86.PageSize] = mm.Category(r.categories)
		}
	}
	return nil
}

// uffdFeatures returns the features of the kernel's userfaultfd.
func uffdFeatures() (uint64, error) {
	const api, request = 0xaa, 0xc018aa3f
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	defer unix.Close(int(fd))
	args := [3]uint64{api}
	// SAFETY: the kernel reads and writes three words.
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(&args))); errno != 0 {
		return 0, errno
	}
	return args[1], nil
}

// addressOf returns where memory lies that unix.Mmap has mapped, outside the Go heap.
func addressOf(b []byte) x86.Virt {
	// SAFETY: only the number is used.
	return x86.Virt(uintptr(unsafe.Pointer(&b[0])))
}
