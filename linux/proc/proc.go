package proc

import (
	"ptemu/arch/x86"
	"ptemu/linux"
)

// Processes is what a capture says of its processes.
type Processes struct {
	// List holds every process once, kernel threads included, ascending by PID. The idle tasks (PID 0) are not in it.
	List []*Process
	// Facts are how the processes were found, Assumptions what was decided without the capture's word, Warnings what
	// does not fit together or could not be read.
	Facts, Assumptions []linux.Finding
	Warnings           []string

	flags *flagSet // what bits of vm_flags mean
}

// Process is one process: a thread group.
type Process struct {
	// Task is the address of the leader's task_struct, 0 for a process of which only the root table was found.
	Task x86.Virt
	// PID is that of the leader, TGID that of the group: they are equal. -1 where only the root table was found.
	PID, TGID int
	// PPID is the TGID of the parent.
	PPID int
	// Comm is the leader's name. That of a kernel thread is what /proc prints: workers of workqueues with what they do or did.
	Comm string
	// Kernel says that this is a kernel thread.
	Kernel bool
	// MM is the address space. Kernel threads and processes that have exited have none: nil. Processes that share one
	// (CLONE_VM) share the pointer.
	MM *MM
	// Threads are the other threads of the group, ascending by PID.
	Threads []Thread
}

// Thread is one more thread of a process.
type Thread struct {
	Task x86.Virt
	PID  int
	Comm string
}

// MM is an address space.
type MM struct {
	// Addr is the address of the mm_struct, 0 if only the root table was found.
	Addr x86.Virt
	// Roots are the root tables.
	Roots linux.Roots
	// Areas are the areas, ascending. Areas that could not be read are missing, and AreasErr says why.
	Areas    []VMA
	AreasErr string
}

// VMA is an area of an address space: a vm_area_struct.
type VMA struct {
	Addr x86.Virt // of the vm_area_struct
	// Start is the first address, End the one behind the last.
	Start, End x86.Virt
	// Flags is vm_flags. What its bits mean depends on the kernel: [Processes.FlagNames], [Processes.Flag].
	Flags uint64
	// Prot is vm_page_prot: the protection that entries of the area begin with.
	Prot x86.Prot
	// Offset is where in its file the area begins, in bytes.
	Offset uint64
	// File is what is mapped, nil for anonymous memory.
	File *File
	// Name is what /proc/pid/maps prints for areas without a file: "[heap]", "[stack]", "[vdso]", "[anon:name]"; "" for none. Of
	// an area with a file, it is what is printed in place of the path: "[anon_shmem:name]", or "".
	Name string
	// Anon says that the area has an anon_vma: it has, or had, private pages.
	Anon bool
}

// File is a mapped file. Areas that map the same file share the pointer.
type File struct {
	Dev   uint64 // the kernel's dev_t: major<<20 | minor
	Inode uint64
	Path  string // as /proc/pid/maps prints it to process 1, " (deleted)" included; "" if it could not be read
	Shmem bool   // shared memory: shmem_file()
	Huge  bool   // hugetlbfs
}
