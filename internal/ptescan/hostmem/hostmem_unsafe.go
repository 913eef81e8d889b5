//go:build unix

package hostmem

import (
	"syscall"
	"testing"
	"unsafe"
)

// Table is a page table.
type Table = [512]uint64

const tableSize = 4096

func mapped(tb testing.TB, bytes int) []byte {
	m, err := syscall.Mmap(-1, 0, bytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := syscall.Munmap(m); err != nil {
			tb.Error(err)
		}
	})
	return m
}

// Guarded returns a table with memory before and behind it that nobody may touch. It skips the test where the host's
// pages are larger than a table.
func Guarded(tb testing.TB) *Table {
	if syscall.Getpagesize() != tableSize {
		tb.Skip("pages are not as large as tables here")
	}
	m := mapped(tb, 3*tableSize)
	for _, guard := range [][]byte{m[:tableSize], m[2*tableSize:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			tb.Fatal(err)
		}
	}
	// SAFETY: the page in the middle is as large as a Table, aligned, and mapped until the test ends.
	return (*Table)(unsafe.Pointer(&m[tableSize]))
}

// Tables returns n tables one behind the other, at a multiple of 2 MiB, in huge pages if the system gives them.
func Tables(tb testing.TB, n int) []Table {
	const huge = 2 << 20
	m := mapped(tb, n*tableSize+huge)
	// SAFETY: only the number of the address matters: how far it is to a multiple of 2 MiB.
	skip := -uintptr(unsafe.Pointer(&m[0])) % huge
	adviseHuge(tb, m)
	// SAFETY: n tables lie behind skip, aligned to far more than a Table needs, and mapped until the test ends.
	return unsafe.Slice((*Table)(unsafe.Pointer(&m[skip])), n)
}
