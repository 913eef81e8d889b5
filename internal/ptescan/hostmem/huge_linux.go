package hostmem

import (
	"syscall"
	"testing"
)

// adviseHuge asks for huge pages.
func adviseHuge(tb testing.TB, m []byte) {
	const advice = 14 // MADV_HUGEPAGE
	if err := syscall.Madvise(m, advice); err != nil {
		tb.Log("no huge pages: ", err)
	}
}
