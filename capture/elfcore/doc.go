// Package elfcore reads and writes memory captures in ELF core format: what QEMU's dump-guest-memory writes, what
// the kernel offers as /proc/vmcore and /proc/kcore, and what makedumpfile -E leaves of it.
//
//	0          ELF header: class, machine, where the program headers are and how many
//	e_phoff    program headers
//	             PT_NOTE   p_offset, p_filesz: the notes (package elfnote)
//	             PT_LOAD   physical memory [p_paddr, p_paddr+p_memsz): the first p_filesz bytes of it are in the
//	                       file at p_offset; the rest was excluded
//	e_shoff    with 65535 segments or more, e_phnum is 0xffff (PN_XNUM) and section header 0 holds the number
//	p_offset   notes, memory
//
// What makers of such files do, and what we make of it:
//   - p_vaddr is not used. QEMU with paging=on writes non-canonical ones; kernels differ in what is valid.
//   - Segments may overlap and alias (QEMU with paging=on writes one for each mapping of a page): all copies are of
//     the same memory, and the first whose bytes are in the file wins. Its segments also end in the file where a RAM
//     block of QEMU ends, and go on in memory: what follows counts as excluded, though the file may hold it at a place
//     that no header tells.
//   - /proc/kcore gives p_paddr -1 to what has no place in the direct map (modules, vmalloc, vmemmap). Such
//     segments are left out and counted in NoPhys.
//   - e_ehsize may be 8 (QEMU 7.2), e_machine EM_386 in an ELF64 file (QEMU, the first CPU not in long mode): neither
//     is held against the file.
//   - p_filesz > p_memsz: what exceeds p_memsz is not memory.
//   - The file may end before its segments do (a copy cut off): frames that are not wholly in it give an error with
//     the file offset, the others can be read.
//
// What must always hold: Open takes memory in proportion to the number of segments, at most [MaxSegments], never
// to a number that the file merely states.
package elfcore
