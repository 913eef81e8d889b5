// Package pgtable is the radix tree of page tables: what hangs below the frame that CR3 names.
//
// Linux builds the tree in physical memory, with four or five levels of 512-entry tables, and walks it from the
// root. So do we, in two ways. [Walk] reads a tree in anybody's memory, a capture's say, and trusts nothing. [Tree]
// is a tree of our own, in emulated memory, with the kernel's operations on it.
//
// # Walk
//
// A tree is a [physmem.Reader] and a root frame, and a table is read when the walk gets there.
// [Walk] visits it once, depth first, in ascending address order, and hands what it finds to a [Visitor]: PTE tables
// whole, because a table is the unit of work, and the tables above them slot by slot.
//
// The meaning of an entry is Linux's, which differs from the processor's where P is clear: an entry without P may
// still be a leaf, or a swap-like entry in a leaf's place. Only a slot that both agree to be a table is descended.
//
// The memory may be anybody's, so four things must always hold:
//   - A walk ends. A table that is its own ancestor is not entered (ErrLoop), and the number of repeated visits is
//     bounded by the number of different tables (ErrAliased).
//   - Memory use is constant: one buffer a level, and at most 8 MiB to remember which frames were seen.
//   - Nothing is left out silently. What is not descended is handed over as a [Problem] in its place.
//   - A table outside the range of the walk is not read.
//
// # Tree
//
// The tables of a [Tree] live in frames of a [physmem.RAM], exactly as Linux lays them out, and can be walked by
// [Walk], by the emulated processors of arch/x86/mmu, and, written out, by ptdump. It has the user half of the address
// space only, and no second root for page table isolation.
//
// The table is the unit of work here too: an operation takes the lock of a PTE table once, does all of its entries that
// it is about, and goes on to the next. A cursor is that lock: [PTECursor] and [PMDCursor] are the only way to write
// entries of their level, and tables above are written by the tree itself.
//
//	                      guarded by                    read without it
//	PGD, P4D, PUD table   one mutex for the tree        entry by entry, atomically
//	PMD table             its lock ([PMDCursor])        entry by entry, atomically
//	PTE table             its lock ([PTECursor])        never
//
// The mutex is what a [PUDCursor] holds. Locks are taken from the top down, never upwards: the mutex, a PMD table, a PTE
// table. Of two tables of one level in one tree the lower address comes first ([Tree.Move]); a parent's comes before its
// child's ([Tree.Copy]). No callback may take a lock above the one that it is called under.
//
// A change of many PTE tables holds their PMD table in bulk, up to a few tables at a time, which takes the place of the
// locks of the PTE tables below that are free; see lock.go. Whoever does so waits for nothing and takes no other lock.
//
// Descending takes no lock. What was found is locked, and then asked whether it still is the table for that address:
// the state that each table has on a line of its own says so. Emulated processors set A and D under the lock of the
// table ([Tree.SetBits]), so that an operation may rewrite the whole table without losing one.
//
// What must always hold, and [Tree.Check] checks:
//   - A table is in one place: linked by one entry, deposited with one PMD table, or waiting in one [Gather].
//   - An entry that points to a table has the flags that Linux gives it, but for A.
//   - The state of a table has its level, its first address, and the number of its entries that are not none.
//   - A table is freed, and a frame that a gather was given is freed, only when processors were told (see [Flusher]).
//     As in Linux, whoever frees tables of a range keeps others from using it: freed memory may be anything soon.
//
// Whatever an operation changes that a processor may have cached is owed to a [Gather] and paid when it finishes.
// Until then the tree has a flush pending. What entries stand for (pages, swap slots, markers) is not known here:
// operations hand over what they meet, as bitmaps of a table, and are told what becomes of it.
package pgtable
