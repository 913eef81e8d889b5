//go:build (linux || darwin || freebsd || netbsd || openbsd) && !race

package physmem

import "golang.org/x/sys/unix"

// arena is memory from the operating system, outside the Go heap.
type arena []byte

func newArena(size uint64, huge bool) (arena, error) {
	a, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|mapNoReserve)
	if err != nil {
		return nil, err
	}
	if huge {
		adviseHuge(a)
	}
	return a, nil
}

func (a arena) release() error { return unix.Munmap(a) }
