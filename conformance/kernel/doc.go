// Package kernel is a running Linux kernel as a target for litmus programs.
//
// Every process of a program is a process of the guest (package vm). An operation is one or a few system calls that the
// agent makes in it; an access is an instruction in user mode. Entries are read from the guest's memory, below the root
// table of the process.
//
// Differences from the emulator that are meant:
//
//   - A userfaultfd is opened with UFFD_FEATURE_SIGBUS, so that an access that would wait for a monitor ends at once, with
//     the tables as a waiting access leaves them. SIGBUS is told apart by what the entry and the area say.
//   - There is one processor. A step that names another runs on it as well; flushes that are late do not show.
//   - Nothing can be stopped in the middle: programs with points are not for kernels.
//   - What the language says the kernel does by itself (KSM, khugepaged, reclaim, NUMA hints) is asked for through its files,
//     and waited for. What holds pages (pipes, rings) is open in process 1, not in the program's processes.
//
// What must always hold: a call that does not return costs the machine. Whoever meets one marks the machine as lost, every
// operation after it is the same error, and the next program boots another.
package kernel
