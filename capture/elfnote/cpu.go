package elfnote

import (
	"encoding/binary"

	"ptemu/capture/ferr"
)

// CPU is what a capture knows of one processor's state.
type CPU struct {
	// The control registers, unchanged: CR3 with its PCID.
	CR0, CR2, CR3, CR4 uint64
	// EFER holds only if HasEFER. QEMU's note leaves it out.
	EFER    uint64
	HasEFER bool
	// GSBase is the base of GS at the moment of the capture: the kernel's per-CPU area while the processor ran in
	// the kernel, the program's while it ran user code.
	GSBase uint64
	// KernelGSBase is IA32_KERNEL_GS_BASE, which SWAPGS exchanges with GSBase. It holds only if HasKernelGSBase:
	// older QEMU leaves it out.
	KernelGSBase    uint64
	HasKernelGSBase bool
	// IDTBase is the linear address of the interrupt descriptor table.
	IDTBase          uint64
	RIP, RSP, RFLAGS uint64
	CS               uint16
}

// CPL returns the privilege level that the processor ran at: 0 kernel, 3 user.
func (c *CPU) CPL() int { return int(c.CS & 3) }

// PerCPUBase returns the address of the processor's per-CPU area, whichever of the two GS bases holds it.
// Between a kernel entry and its SWAPGS the answer is the user's base; nothing in the note tells.
func (c *CPU) PerCPUBase() (base uint64, ok bool) {
	if c.CPL() == 0 {
		return c.GSBase, true
	}
	return c.KernelGSBase, c.HasKernelGSBase
}

// QEMU's CPU state note, version 1: a header, sixteen general registers in the order ax bx cx dx si di sp bp r8..r15,
// ip, flags, ten segments (cs ds es fs gs ss ldt tr gdt idt) of 24 bytes with the selector first and the base last,
// five control registers, and since 2018 the kernel's GS base.
const (
	qemuVersion    = 1
	qemuSize       = 440
	qemuSizeBefore = 432 // without the kernel GS base

	qemuRSP          = 56
	qemuRIP          = 136
	qemuRFLAGS       = 144
	qemuCS           = 152
	qemuGS           = 248
	qemuIDT          = 368
	qemuSegBase      = 16
	qemuCR           = 392
	qemuKernelGSBase = 432
)

// CPUs decodes the QEMU CPU state notes, in the order of the file, which is that of the CPU numbers. Captures that
// QEMU did not make have none.
//
// QEMU: target/i386/arch_dump.c
func CPUs(notes []Note) ([]CPU, error) {
	var cpus []CPU
	for _, n := range notes {
		if n.Name != NameQEMU || n.Type != 0 {
			continue
		}
		d := n.Desc
		if len(d) < qemuSizeBefore {
			return nil, ferr.New(format, n.Off, "QEMU CPU state of %d bytes, at least %d expected", len(d), qemuSizeBefore)
		}
		version, size := binary.LittleEndian.Uint32(d), binary.LittleEndian.Uint32(d[4:])
		if version != qemuVersion {
			return nil, ferr.New(format, n.Off, "QEMU CPU state version %d, only %d is known", version, qemuVersion)
		}
		if size < qemuSizeBefore || uint64(size) > uint64(len(d)) {
			return nil, ferr.New(format, n.Off, "QEMU CPU state says it has %d bytes, the note has %d", size, len(d))
		}
		u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(d[off:]) }
		c := CPU{
			CR0:     u64(qemuCR),
			CR2:     u64(qemuCR + 2*8),
			CR3:     u64(qemuCR + 3*8),
			CR4:     u64(qemuCR + 4*8),
			GSBase:  u64(qemuGS + qemuSegBase),
			IDTBase: u64(qemuIDT + qemuSegBase),
			RIP:     u64(qemuRIP),
			RSP:     u64(qemuRSP),
			RFLAGS:  u64(qemuRFLAGS),
			CS:      uint16(u64(qemuCS)),
		}
		if size >= qemuSize {
			c.KernelGSBase, c.HasKernelGSBase = u64(qemuKernelGSBase), true
		}
		cpus = append(cpus, c)
	}
	return cpus, nil
}

// Note makes the QEMU CPU state note of c, as [CPUs] reads it. Registers that a CPU does not hold are zero, and
// EFER has no place in it.
func (c *CPU) Note() Note {
	size := qemuSizeBefore
	if c.HasKernelGSBase {
		size = qemuSize
	}
	d := make([]byte, size)
	binary.LittleEndian.PutUint32(d, qemuVersion)
	binary.LittleEndian.PutUint32(d[4:], uint32(size))
	put := func(off int, v uint64) { binary.LittleEndian.PutUint64(d[off:], v) }
	put(qemuRSP, c.RSP)
	put(qemuRIP, c.RIP)
	put(qemuRFLAGS, c.RFLAGS)
	put(qemuCS, uint64(c.CS))
	put(qemuGS+qemuSegBase, c.GSBase)
	put(qemuIDT+qemuSegBase, c.IDTBase)
	put(qemuCR, c.CR0)
	put(qemuCR+2*8, c.CR2)
	put(qemuCR+3*8, c.CR3)
	put(qemuCR+4*8, c.CR4)
	if c.HasKernelGSBase {
		put(qemuKernelGSBase, c.KernelGSBase)
	}
	return Note{Name: NameQEMU, Desc: d}
}
