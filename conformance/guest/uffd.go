//go:build linux && amd64

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// The userfaultfd interface (Linux: include/uapi/linux/userfaultfd.h).
const (
	uffdAPI          = 0xaa
	uffdioAPI        = 0xc018aa3f
	uffdioRegister   = 0xc020aa00
	uffdioProtect    = 0xc018aa06
	uffdioPoison     = 0xc020aa08
	uffdModeMissing  = 1 << 0
	uffdModeWP       = 1 << 1
	uffdProtectModWP = 1 << 0

	featureWP             = 1 << 0
	featureWPHugetlbShmem = 1 << 12
	featureWPUnpopulated  = 1 << 13
	featurePoison         = 1 << 14
)

type uffdRange struct{ start, length uint64 }

type uffdAPIArg struct{ api, features, ioctls uint64 }

type uffdRegisterArg struct {
	uffdRange
	mode, ioctls uint64
}

type uffdProtectArg struct {
	uffdRange
	mode uint64
}

type uffdPoisonArg struct {
	uffdRange
	mode    uint64
	updated int64
}

// register opens a userfaultfd with the features and registers pages of the region.
// The descriptor stays open: closing it would undo the registration.
func (b *builder) register(r *region, from, to int, mode, features uint64) (uffd int, err error) {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK, 0, 0)
	if errno != 0 {
		return -1, fmt.Errorf("userfaultfd: %w", errno)
	}
	uffd = int(fd)
	b.uffds = append(b.uffds, uffd)
	if err := ioctlStruct(uffd, uffdioAPI, &uffdAPIArg{api: uffdAPI, features: features}); err != nil {
		return -1, fmt.Errorf("userfaultfd features %#x: %w", features, err)
	}
	arg := uffdRegisterArg{uffdRange: r.uffdRange(from, to), mode: mode}
	if err := ioctlStruct(uffd, uffdioRegister, &arg); err != nil {
		return -1, fmt.Errorf("register: %w", err)
	}
	return uffd, nil
}

// registerWP registers the whole region for write-protection.
func (b *builder) registerWP(r *region, features uint64) (uffd int, err error) {
	return b.register(r, 0, r.pages(), uffdModeWP, featureWP|features)
}

// uffdProtect write-protects pages, or resolves their protection.
func uffdProtect(uffd int, r *region, from, to int, protect bool) error {
	arg := uffdProtectArg{uffdRange: r.uffdRange(from, to)}
	if protect {
		arg.mode = uffdProtectModWP
	}
	if err := ioctlStruct(uffd, uffdioProtect, &arg); err != nil {
		return fmt.Errorf("write-protect pages %d..%d: %w", from, to, err)
	}
	return nil
}

// uffdPoison marks holes so that touching them is a hardware error.
func uffdPoison(uffd int, r *region, from, to int) error {
	arg := uffdPoisonArg{uffdRange: r.uffdRange(from, to)}
	if err := ioctlStruct(uffd, uffdioPoison, &arg); err != nil {
		return fmt.Errorf("poison pages %d..%d: %w", from, to, err)
	}
	return nil
}

func (r *region) uffdRange(from, to int) uffdRange {
	return uffdRange{uint64(r.addr) + uint64(from*pageSize), uint64((to - from) * pageSize)}
}
