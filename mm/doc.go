// Package mm is address spaces that behave as Linux's: what stands behind the entries of page tables, and who may change
// them.
//
// Linux keeps an address space (mm_struct) as a tree of areas (VMAs), each with a default protection, and a page table
// that is filled when addresses are touched. Behind the entries stand folios, counted by those who use them; a page
// that one process alone may write without asking is marked exclusive. Every path that maps a page anew (fault, fork,
// mprotect, userfaultfd, migration, swap) must decide whether its entry may be writable, and most mistakes of two
// decades were made there.
//
// A [Machine] is memory, processors, files, a swap area and any number of [Space]s. A [CPU] runs one space at a time:
// it loads, stores and fetches through its own TLB and the emulated tables, takes faults, and makes system calls, which
// are its methods. Pages have contents, so a write that goes astray is seen.
//
// # Rooms
//
//	machine.go policy.go flags.go   the machine; what releases, and historic mistakes, do differently
//	page.go rmap.go                 folios: counts, flags, exclusive marks; from a page to its mappings
//	space.go vma.go mmap.go         address spaces and their areas
//	gate.go                         the one place that lets an entry gain the write bit
//	fault*.go                       page faults by kind
//	task.go lock.go                 stopping an operation at a named point while another CPU runs
//	check*.go                       what must hold, looked for everywhere
//
// and a file for each system call or kernel thread: fork, mprotect, mremap, madvise, userfaultfd, clear_refs, pagemap,
// migration, swap, KSM, GUP, collapse.
//
// # One at a time
//
// A Machine belongs to one goroutine at a time. Concurrency is that of the emulated processors: an operation can be
// run as a [Task] and be stopped at a [Point], where it holds no page-table lock, while other CPUs go on. So every
// interleaving that matters can be fixed, and repeated.
//
// # What must always hold
//
//   - An entry gains the write bit only through gate.go.
//   - Whatever a processor may have cached of a changed entry is owed to a gather, and the gather is finished before
//     the system call returns.
//   - A folio has as many references as there are mappings, caches, pins and callers that hold it, and its frames are
//     free when there are none.
//   - [Machine.Check] finds nothing, after any operation, under every policy that is a release's.
package mm
