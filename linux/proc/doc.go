// Package proc finds the processes of a captured kernel and what each maps, from the kernel's own memory.
//
// What Linux does. Every task is a task_struct in one circular list that begins at init_task; the threads of a process
// hang from its signal_struct. A task's mm points at the address space: the root of its tables (mm_struct.pgd) and the
// maple tree of its areas (vm_area_struct), before 6.1 a list of them. Kernel threads have no mm of their own.
//
// How we find it. VMCOREINFO names the tables of kallsyms (package kallsyms), which name init_task and the kernel's
// type information (package ktype), which says where members lie. Where a link is missing there are other ways to the same place:
//
//	symbols    as VMCOREINFO says; by their shape in the kernel image
//	types      between __start_BTF and __stop_BTF; by their first bytes in the kernel image; in all of RAM
//	init_task  by its symbol; in the export table; as the first ancestor of what a processor runs, by the per-CPU variable
//	           current_task; by its name in all of RAM. It must be the idle task, its own parent, and in the list of tasks
//	tasks      along the list, and back along it from the other end where it is broken
//	roots      by the looks of their tables in all of RAM ([linux.FindAllRoots]): where there is nothing else, and where the
//	           list is broken in two places or an mm_struct cannot be read. Nothing else is known of these: their PID is -1
//
// [Processes.Facts] says which way was taken.
//
// What the bits of vm_flags mean comes from the kernel's own enumeration since 6.19, before that from the release.
//
// What is not here: the area [vsyscall], which is in no address space's tree.
//
// What must always hold: memory that was altered gives warnings and a shorter list, never a hang or a panic; every list
// and tree that is followed has a bound; what could not be read is said at its place.
package proc
