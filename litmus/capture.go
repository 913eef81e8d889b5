package litmus

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"ptemu/arch/x86/mmu"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
)

// Processes returns the names of the processes that have not exited, the first one first.
func (e *Emulator) Processes() []string {
	names := slices.Sorted(maps.Keys(e.spaces))
	if i := slices.Index(names, DefaultProcess); i > 0 {
		names = slices.Insert(slices.Delete(names, i, i+1), 0, DefaultProcess)
	}
	return names
}

// WriteCapture writes the machine as an ELF core: its memory, and for each of [Emulator.Processes] a processor that runs it.
func (e *Emulator) WriteCapture(w io.Writer) error {
	abi := e.ABI()
	five := 0
	if abi.Paging().Levels == 5 {
		five = 1
	}
	// PG_hwpoison is a number of no page flag here: that it is there says that the kernel has CONFIG_MEMORY_FAILURE.
	info := fmt.Appendf(nil, "OSRELEASE=%s.0\nPAGESIZE=4096\nNUMBER(pgtable_l5_enabled)=%d\nNUMBER(PG_hwpoison)=22\n",
		abi.Kernel().Release, five)
	notes := []elfnote.Note{elfnote.VMCoreInfoNote(info)}
	for _, name := range e.Processes() {
		r := mmu.LinuxRegs(uint64(e.spaces[name].space.Tree().Root().Phys()), int(abi.Paging().Levels))
		cpu := elfnote.CPU{CR0: r.CR0, CR3: r.CR3, CR4: r.CR4, CS: 0x33}
		notes = append(notes, cpu.Note())
	}
	return elfcore.Write(w, e.m.RAM(), e.m.RAM().Ranges(), notes)
}
