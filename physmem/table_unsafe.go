package physmem

import (
	"unsafe"

	"ptemu/arch/x86"
)

// ReadTable fills dst with the page table in frame pfn.
func ReadTable(m Reader, pfn x86.PFN, dst *Table) error {
	// SAFETY: Frame and Table are both 4096 bytes, and a Table is at least as aligned as a Frame.
	if err := m.ReadFrame(pfn, (*Frame)(unsafe.Pointer(dst))); err != nil {
		return err
	}
	dst.fromLittleEndian()
	return nil
}
