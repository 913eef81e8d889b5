package mmu

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
)

// Bits of CR0 that paging looks at.
const (
	CR0PE = x86.CR0PE
	CR0WP = x86.CR0WP
	CR0PG = x86.CR0PG
)

// CR3PCIDMask is the field of CR3 that holds the process-context identifier, if CR4.PCIDE is set.
const CR3PCIDMask = x86.CR3PCIDMask

// Bits of CR4 that paging looks at.
const (
	CR4PSE   = x86.CR4PSE
	CR4PAE   = x86.CR4PAE
	CR4PGE   = x86.CR4PGE
	CR4LA57  = x86.CR4LA57
	CR4PCIDE = x86.CR4PCIDE
	CR4SMEP  = x86.CR4SMEP
	CR4SMAP  = x86.CR4SMAP
	CR4PKE   = x86.CR4PKE
	CR4CET   = x86.CR4CET
	CR4PKS   = x86.CR4PKS
)

// Bits of IA32_EFER.
const (
	EFERSCE = x86.EFERSCE
	EFERLME = x86.EFERLME
	EFERLMA = x86.EFERLMA
	EFERNXE = x86.EFERNXE
)

// RFLAGSAC is RFLAGS.AC, which lifts SMAP.
const RFLAGSAC = x86.RFLAGSAC

// CR0Linux, CR4Linux and EFERLinux are what a capture that lacks a register may assume: the bits on which every
// 64-bit Linux relies. CR4.LA57, SMEP, SMAP, PKE and CET are not among them, for they depend on the processor.
const (
	CR0Linux  = CR0PE | CR0WP | CR0PG
	CR4Linux  = CR4PSE | CR4PAE | CR4PGE
	EFERLinux = EFERSCE | EFERLME | EFERLMA | EFERNXE
)

// Errors of [Regs.Validate] and [New].
var (
	// ErrNotLongMode: CR0.PG, CR4.PAE or EFER.LMA is clear, so the tables are not of this kind.
	ErrNotLongMode = errors.New("not paging in long mode")
	// ErrBadRegs: no processor can be in this state, or it contradicts the x86.Paging given.
	ErrBadRegs = errors.New("contradictory registers")
)

// Regs holds the registers that steer paging, as the processor holds them. Other bits are ignored, so a whole
// register may be stored. PKRU, PKRS (the IA32_PKRS MSR) and RFLAGS may stay 0: no key forbids anything, AC clear.
type Regs struct {
	CR0, CR3, CR4, EFER uint64
	RFLAGS              uint64
	PKRU, PKRS          uint32
}

// LinuxRegs returns the registers of an otherwise unknown processor that runs Linux on the tables at cr3.
func LinuxRegs(cr3 uint64, levels int) Regs {
	r := Regs{CR0: CR0Linux, CR3: cr3, CR4: CR4Linux, EFER: EFERLinux}
	if levels == 5 {
		r.CR4 |= CR4LA57
	}
	return r
}

// Validate reports the first reason why no 4- or 5-level walk can be done from the registers.
func (r Regs) Validate() error {
	switch {
	case r.CR0&CR0PG == 0:
		return fmt.Errorf("mmu: CR0 %#x: PG is clear: %w", r.CR0, ErrNotLongMode)
	case r.CR4&CR4PAE == 0:
		return fmt.Errorf("mmu: CR4 %#x: PAE is clear: %w", r.CR4, ErrNotLongMode)
	case r.EFER&EFERLMA == 0:
		return fmt.Errorf("mmu: EFER %#x: LMA is clear: %w", r.EFER, ErrNotLongMode)
	case r.CR4&CR4CET != 0 && r.CR0&CR0WP == 0:
		return fmt.Errorf("mmu: CR0 %#x, CR4 %#x: CET without WP: %w", r.CR0, r.CR4, ErrBadRegs)
	}
	return nil
}

// Levels returns the depth of the tables: 5 with CR4.LA57, else 4.
func (r Regs) Levels() int {
	if r.CR4&CR4LA57 != 0 {
		return 5
	}
	return 4
}

// PCID returns the process-context identifier in CR3, 0 without CR4.PCIDE.
func (r Regs) PCID() uint16 {
	if r.CR4&CR4PCIDE == 0 {
		return 0
	}
	return uint16(r.CR3 & CR3PCIDMask)
}

// Paging returns what the registers say about the tables. What they do not say is given: MAXPHYADDR (CPUID
// 0x80000008) and AMD's encryption mask, 0 without.
func (r Regs) Paging(physBits uint8, encMask uint64) x86.Paging {
	return x86.Paging{
		Levels:      r.Levels(),
		PhysBits:    physBits,
		NX:          r.EFER&EFERNXE != 0,
		EncMask:     encMask,
		ShadowStack: r.CR4&CR4CET != 0,
	}
}

// WithPaging returns the registers with CR4.LA57 and EFER.NXE as p has them.
func (r Regs) WithPaging(p x86.Paging) Regs {
	r.CR4 &^= CR4LA57
	if p.Levels == 5 {
		r.CR4 |= CR4LA57
	}
	r.EFER &^= EFERNXE
	if p.NX {
		r.EFER |= EFERNXE
	}
	return r
}
