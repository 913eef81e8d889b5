package x86

import "fmt"

// PageShift, PageSize and PageMask describe the 4 KiB base page.
//
// Linux: arch/x86/include/asm/page_types.h:PAGE_SHIFT
const (
	PageShift = 12
	PageSize  = 1 << PageShift
	PageMask  = ^uint64(PageSize - 1)
)

// EntriesPerTable is the number of 64-bit entries in every table, whatever its level.
const EntriesPerTable = 512

// Virt is a virtual address as the processor sees it: 64 bits, canonical or not.
type Virt uint64

// Phys is a physical byte address. An encryption bit is never part of it.
type Phys uint64

// PFN is a physical frame number: a Phys divided by PageSize.
type PFN uint64

// PFN returns the frame that holds the byte at p.
func (p Phys) PFN() PFN { return PFN(p >> PageShift) }

// Offset returns the position of p within its 4 KiB frame.
func (p Phys) Offset() uint64 { return uint64(p) & (PageSize - 1) }

// Phys returns the address of the first byte of the frame.
func (f PFN) Phys() Phys { return Phys(f << PageShift) }

// Offset returns the position of v within its 4 KiB page.
func (v Virt) Offset() uint64 { return uint64(v) & (PageSize - 1) }

// String formats the address as ptdump prints it: 0x and 16 hex digits.
func (v Virt) String() string { return fmt.Sprintf("0x%016x", uint64(v)) }

// String formats the address as 0x and at least one hex digit.
func (p Phys) String() string { return fmt.Sprintf("%#x", uint64(p)) }

// Index returns the slot of v in a table of level l, nothing folded: what the processor looks up.
func (v Virt) Index(l Level) int { return int(uint64(v)>>l.Shift()) & (EntriesPerTable - 1) }
