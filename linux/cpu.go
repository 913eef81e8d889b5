package linux

import (
	"fmt"

	"ptemu/arch/x86"
)

// CPU is what a capture says of one processor.
type CPU struct {
	CR0, CR3, CR4 uint64
	// EFER holds only if HasEFER; QEMU's notes lack it.
	EFER    uint64
	HasEFER bool
	// GSBase and KernelGSBase are the two bases that SWAPGS exchanges, zero if the capture lacks them.
	GSBase, KernelGSBase x86.Virt
}

// Bits of the control registers that decide how CR3 is read, and what a kernel has.
const (
	cr0PG   = x86.CR0PG
	cr4PAE  = x86.CR4PAE
	cr4LA57 = x86.CR4LA57
	cr4CET  = x86.CR4CET
	cr4FRED = x86.CR4FRED
	eferLMA = x86.EFERLMA
	eferNXE = x86.EFERNXE
)

// paging reports whether the processor uses four- or five-level tables, and if not, why.
func (c CPU) paging() error {
	switch {
	case c.CR0&cr0PG == 0:
		return fmt.Errorf("paging is off (CR0 %#x, PG clear): it was captured while starting up or offline", c.CR0)
	case c.CR4&cr4PAE == 0:
		return fmt.Errorf("32-bit paging (CR4 %#x, PAE clear)", c.CR4)
	case c.HasEFER && c.EFER&eferLMA == 0:
		return fmt.Errorf("PAE paging (EFER %#x, LMA clear)", c.EFER)
	}
	return nil
}

// levels returns the number of levels that the processor walks. It holds if paging returns nil.
func (c CPU) levels() int {
	if c.CR4&cr4LA57 != 0 {
		return 5
	}
	return 4
}
