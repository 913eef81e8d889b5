package x86

import (
	"fmt"
	"math/bits"
)

// Paging describes the machine whose tables are read: what the processor and the boot decided, not what the
// kernel's release decides. It is a value; nothing in this module reads it from the CPU that runs the program.
type Paging struct {
	// Levels is 4, or 5 when CR4.LA57 is set.
	Levels int
	// PhysBits is MAXPHYADDR, 32 to 52: frame bits from here to 51 are reserved.
	PhysBits uint8
	// NX says that EFER.NXE is set, so that bit 63 means no-execute rather than reserved.
	NX bool
	// EncMask is AMD's memory-encryption bit (sme_me_mask) as it stands in entries, 0 without it. The kernel's
	// mask for confidential guests (_PAGE_CC) is the same bit there; Intel's TDX, where it is not, is not modelled.
	EncMask uint64
	// L1TF says that the CPU has the L1 terminal fault, which limits the swap offset.
	// CacheBits is then its boot_cpu_data.x86_cache_bits (44 to 46 on the affected parts).
	L1TF      bool
	CacheBits uint8
	// ShadowStack says that the CPU has user shadow stacks, which makes RW=0, D=1 a writable encoding.
	ShadowStack bool
}

// DefaultPaging returns an ordinary machine: NX, 52 physical bits, no encryption, not affected by L1TF.
func DefaultPaging(levels int) Paging { return Paging{Levels: levels, PhysBits: 52, NX: true} }

// Validate reports the first field that no x86-64 processor has.
func (p Paging) Validate() error {
	switch {
	case p.Levels != 4 && p.Levels != 5:
		return fmt.Errorf("x86: paging levels %d: want 4 or 5", p.Levels)
	case p.PhysBits < 32 || p.PhysBits > 52:
		return fmt.Errorf("x86: physical address bits %d: want 32 to 52", p.PhysBits)
	case p.EncMask != 0 && (bits.OnesCount64(p.EncMask) != 1 || p.EncMask < 1<<32 || p.EncMask >= 1<<52):
		return fmt.Errorf("x86: encryption mask %#x: want one bit from 32 to 51, or 0", p.EncMask)
	case p.L1TF && (p.CacheBits < 36 || p.CacheBits > 52):
		return fmt.Errorf("x86: cache bits %d of an L1TF machine: want 36 to 52", p.CacheBits)
	}
	return nil
}

// Root returns the level of the table that CR3 points to.
func (p Paging) Root() Level { return Level(p.Levels) }

// VirtBits returns the significant bits of a virtual address: 48 or 57.
func (p Paging) VirtBits() uint { return p.Root().Shift() + 9 }

// Canonical reports whether the bits above VirtBits all equal the highest significant bit.
//
// Intel SDM, "Canonicality Checking"
func (p Paging) Canonical(v Virt) bool { return p.SignExtend(v) == v }

// SignExtend returns v with its upper bits made canonical.
func (p Paging) SignExtend(v Virt) Virt {
	s := 64 - p.VirtBits()
	return Virt(int64(uint64(v)<<s) >> s)
}

// KernelHalf returns the lowest canonical address with the top bit set.
func (p Paging) KernelHalf() Virt { return p.SignExtend(1 << (p.VirtBits() - 1)) }

// TaskSizeMax returns the end of the addresses that a process may map. The last page of the lower half stays free, so
// that no instruction ends where the address of the next is not canonical.
//
// Linux: arch/x86/include/asm/page_64.h:TASK_SIZE_MAX
func (p Paging) TaskSizeMax() Virt { return 1<<(p.VirtBits()-1) - PageSize }

// Shift is [Level.Shift] as the kernel sees it: with four levels the PGD is folded onto the P4D, and both span the
// same 39 bits.
//
// Linux: arch/x86/include/asm/pgtable_64_types.h:PGDIR_SHIFT
func (p Paging) Shift(l Level) uint {
	if l == LevelPGD && p.Levels == 4 {
		l = LevelP4D
	}
	return l.Shift()
}

// Index returns the slot of v in the kernel's table of level l; in a folded P4D it is 0.
//
// Linux: include/linux/pgtable.h:pte_index(), pmd_index(), pud_index(), pgd_index(); p4d_index()
func (p Paging) Index(v Virt, l Level) int {
	if l == LevelP4D && p.Levels == 4 {
		return 0
	}
	return int(uint64(v)>>p.Shift(l)) & (EntriesPerTable - 1)
}

// AddrEnd returns the end of the part of [v, end) that one entry of level l covers, as the kernel's range loops
// step. Like the kernel's, it compares end-1, so an end of 0 means the top of the address space.
//
// Linux: include/linux/pgtable.h:pgd_addr_end(), p4d_addr_end(), pud_addr_end(), pmd_addr_end()
func (p Paging) AddrEnd(v, end Virt, l Level) Virt {
	size := Virt(1) << p.Shift(l)
	if next := (v + size) &^ (size - 1); next-1 < end-1 {
		return next
	}
	return end
}
