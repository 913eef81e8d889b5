//go:build (darwin || freebsd || netbsd || openbsd) && !race

package physmem

const mapNoReserve = 0

func adviseHuge(arena) {}
