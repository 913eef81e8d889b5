package elfnote

import "encoding/binary"

// PRStatus is the part of an x86-64 NT_PRSTATUS note that says what a processor was doing.
type PRStatus struct {
	PID              uint32 // of the task that ran, 0 if idle; QEMU writes the CPU number plus one
	RIP, RSP, RFLAGS uint64
	RBP              uint64
	CS               uint16
	FSBase, GSBase   uint64
}

// struct elf_prstatus of x86-64: the PID follows the signal state, and the registers start behind four timevals, in
// the order r15 r14 r13 r12 bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp ss fs_base gs_base ds es fs gs.
//
// Linux: include/linux/elfcore.h:struct elf_prstatus; arch/x86/include/asm/elf.h:ELF_CORE_COPY_REGS()
const (
	prstatusSize = 336
	prstatusPID  = 32
	prstatusRegs = 112

	regRBP    = 4
	regRIP    = 16
	regCS     = 17
	regRFLAGS = 18
	regRSP    = 19
	regFSBase = 21
	regGSBase = 22
)

// PRStatuses decodes the x86-64 NT_PRSTATUS notes, in file order. Those of another size (32-bit) are left out.
func PRStatuses(notes []Note) []PRStatus {
	var out []PRStatus
	for _, n := range notes {
		if n.Name != NameCore || n.Type != TypePRStatus || len(n.Desc) != prstatusSize {
			continue
		}
		reg := func(i int) uint64 { return binary.LittleEndian.Uint64(n.Desc[prstatusRegs+8*i:]) }
		out = append(out, PRStatus{
			PID:    binary.LittleEndian.Uint32(n.Desc[prstatusPID:]),
			RIP:    reg(regRIP),
			RSP:    reg(regRSP),
			RFLAGS: reg(regRFLAGS),
			RBP:    reg(regRBP),
			CS:     uint16(reg(regCS)),
			FSBase: reg(regFSBase),
			GSBase: reg(regGSBase),
		})
	}
	return out
}
