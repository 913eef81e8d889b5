//go:build linux && !race

package physmem

import "golang.org/x/sys/unix"

const mapNoReserve = unix.MAP_NORESERVE

// adviseHuge asks for 2 MiB pages. A system that has none makes tables slower, not wrong.
func adviseHuge(a arena) { _ = unix.Madvise(a, unix.MADV_HUGEPAGE) }
