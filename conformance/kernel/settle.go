//go:build linux && amd64

package kernel

import (
	"ptemu/arch/x86"

	"golang.org/x/sys/unix"
)

// Settle has the kernel empty the lists in which a processor keeps the pages that it has lately used. Each list holds a
// reference to its pages, and when it is emptied of itself depends on everything that runs: a page that nobody but its
// entry holds is then copied all the same, or is not moved.
//
// Linux: mm/swap.c:lru_add_drain(), which MADV_COLD calls before anything else
func (t *Target) Settle() error {
	if t.k.this {
		return nil
	}
	if t.k.cold == 0 {
		at, err := t.k.call(unix.SYS_MMAP, 0, x86.PageSize, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0)
		if err != nil {
			return err
		}
		t.k.cold = at
	}
	_, err := t.k.call(unix.SYS_MADVISE, t.k.cold, x86.PageSize, unix.MADV_COLD)
	return err
}
