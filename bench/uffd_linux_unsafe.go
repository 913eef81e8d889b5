//go:build linux

package bench

import (
	"encoding/binary"
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The numbers of include/uapi/linux/userfaultfd.h and include/uapi/linux/fs.h that golang.org/x/sys does not have.
const (
	uffdAPI          = 0xaa
	uffdUserModeOnly = 1
	uffdFeatureWP    = 1 << 0
	uffdRegisterWP   = 1 << 1
	uffdModeWP       = 1 << 0

	uffdioAPI          = 0xc018aa3f
	uffdioRegister     = 0xc020aa00
	uffdioWriteProtect = 0xc018aa06
	pagemapScan        = 0xc0606610

	pageIsPresent = 1 << 3
)

// ioctl calls ioctl() with arguments that are all 64-bit words.
func ioctl(fd int, request uintptr, args []uint64) error {
	// SAFETY: the request's number says how many bytes the kernel reads and writes; each caller's args are as many.
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&args[0])))
	if e != 0 {
		return e
	}
	return nil
}

// span returns the first address and the length of mem.
func span(mem []byte) (start, length uint64) {
	// SAFETY: only the number is used; mem is not of Go's heap and does not move.
	return uint64(uintptr(unsafe.Pointer(&mem[0]))), uint64(len(mem))
}

// openUffd registers mem for write protection by userfaultfd.
func openUffd(mem []byte) (fd int, err error) {
	r, _, e := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|uffdUserModeOnly, 0, 0)
	if e != 0 {
		return -1, e
	}
	fd = int(r)
	start, length := span(mem)
	if err = ioctl(fd, uffdioAPI, []uint64{uffdAPI, uffdFeatureWP, 0}); err == nil {
		err = ioctl(fd, uffdioRegister, []uint64{start, length, uffdRegisterWP, 0})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// writeProtect protects mem, or ends the protection.
func writeProtect(fd int, mem []byte, on bool) error {
	start, length := span(mem)
	mode := uint64(0)
	if on {
		mode = uffdModeWP
	}
	args := [3]uint64{start, length, mode}
	return ioctl(fd, uffdioWriteProtect, args[:])
}

// scanArgs is struct pm_scan_arg, with room for one region of the result.
type scanArgs struct {
	args   []uint64
	region []uint64
}

// scanPresent asks for the pages of mem that are present, in as few regions as they make.
func scanPresent(mem []byte) scanArgs {
	start, length := span(mem)
	s := scanArgs{region: make([]uint64, 3)}
	// SAFETY: only the number is used, while s keeps region alive.
	vec := uint64(uintptr(unsafe.Pointer(&s.region[0])))
	s.args = []uint64{96, 0, start, start + length, 0, vec, 1, 0, 0, pageIsPresent, 0, pageIsPresent}
	return s
}

// run scans, and fails unless all of the memory is one region.
func (s *scanArgs) run(pagemap *os.File) error {
	if err := ioctl(int(pagemap.Fd()), pagemapScan, s.args); err != nil {
		return err
	}
	if s.region[0] != s.args[2] || s.region[1] != s.args[3] {
		return errors.New("not all pages are present")
	}
	return nil
}

// tracksSoftDirty fails if the kernel does not note which pages were written to.
func tracksSoftDirty(mem []byte) error {
	const softDirty = 1 << 55
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return err
	}
	defer f.Close()
	start, _ := span(mem)
	var b [8]byte
	if _, err := f.ReadAt(b[:], int64(start/tableBytes*8)); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(b[:])&softDirty == 0 {
		return errors.New("soft-dirty bits are not built in")
	}
	return nil
}
