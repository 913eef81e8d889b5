package mm

import "ptemu/arch/x86"

// VMFlags are the flags of an area.
//
// Linux: include/linux/mm.h:VM_READ and the following
type VMFlags = x86.VMFlags

// The flags of areas that matter here, beside x86.VMRead, VMWrite, VMExec, VMShared and the protection key.
const (
	VMMayRead     VMFlags = 1 << 4
	VMMayWrite    VMFlags = 1 << 5
	VMMayExec     VMFlags = 1 << 6
	VMMayShare    VMFlags = 1 << 7
	VMUffdMissing VMFlags = 1 << 9
	VMPFNMap      VMFlags = 1 << 10
	VMMaybeGuard  VMFlags = 1 << 11 // 7.2
	VMUffdWP      VMFlags = 1 << 12
	VMLocked      VMFlags = 1 << 13
	VMDontCopy    VMFlags = 1 << 17
	VMAccount     VMFlags = 1 << 20 // memory is set aside for it: private, and may be or has been written
	VMNoReserve   VMFlags = 1 << 21
	VMWipeOnFork  VMFlags = 1 << 25
	VMSoftDirty   VMFlags = 1 << 27
	VMHugePage    VMFlags = 1 << 29
	VMNoHugePage  VMFlags = 1 << 30
	VMMergeable   VMFlags = 1 << 31

	vmUffd   = VMUffdMissing | VMUffdWP
	vmAccess = x86.VMRead | x86.VMWrite | x86.VMExec
	vmMay    = VMMayRead | VMMayWrite | VMMayExec
)

// flagNames are the names of the flags, as in smaps' VmFlags where it has one.
var flagNames = []struct {
	flag VMFlags
	name string
}{
	{x86.VMRead, "rd"}, {x86.VMWrite, "wr"}, {x86.VMExec, "ex"}, {x86.VMShared, "sh"},
	{VMMayRead, "mr"}, {VMMayWrite, "mw"}, {VMMayExec, "me"}, {VMMayShare, "ms"},
	{VMUffdMissing, "um"}, {VMPFNMap, "pf"}, {VMMaybeGuard, "gu"}, {VMUffdWP, "uw"}, {VMLocked, "lo"}, {VMDontCopy, "dc"},
	{VMAccount, "ac"}, {VMNoReserve, "nr"}, {VMWipeOnFork, "wf"}, {VMSoftDirty, "sd"}, {VMHugePage, "hg"}, {VMNoHugePage, "nh"}, {VMMergeable, "mg"},
}

// VMFlagNames returns the two-letter names that /proc/pid/smaps shows.
//
// Linux: fs/proc/task_mmu.c:show_smap_vma_flags()
func VMFlagNames(f VMFlags) (names []string) {
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// Prot is the protection that a system call asks for.
//
// Linux: include/uapi/asm-generic/mman-common.h:PROT_READ, PROT_WRITE, PROT_EXEC, PROT_NONE
type Prot uint8

// The protections of mmap and mprotect.
const (
	ProtRead  Prot = 1 << 0
	ProtWrite Prot = 1 << 1
	ProtExec  Prot = 1 << 2
	ProtNone  Prot = 0
)

// vmFlags is calc_vm_prot_bits().
func (p Prot) vmFlags() (f VMFlags) {
	if p&ProtRead != 0 {
		f |= x86.VMRead
	}
	if p&ProtWrite != 0 {
		f |= x86.VMWrite
	}
	if p&ProtExec != 0 {
		f |= x86.VMExec
	}
	return f
}

// MapFlags are the flags of mmap.
//
// Linux: include/uapi/linux/mman.h:MAP_SHARED and the following
type MapFlags uint16

// The flags of mmap. Without MapShared a mapping is private; without a file it is anonymous.
const (
	MapShared MapFlags = 1 << iota
	MapFixed
	MapFixedNoReplace
	MapPopulate
	MapNoReserve
	MapLocked
)
