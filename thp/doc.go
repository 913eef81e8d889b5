// Package thp is transparent huge pages: the 2 MiB leaves that stand in PMD tables, and what becomes of them.
//
// Linux maps 2 MiB of an area by one PMD when it can, and falls back to a table of 512 PTEs whenever an operation needs
// single pages. So that this can never fail for lack of memory, a PTE table is deposited with the PMD table when an
// anonymous huge page is mapped, and withdrawn when it is split. A huge page in migration is a PMD that is not present;
// one in device memory too (7.2).
//
// The package has the PMD's values (what a change of protection, a migration or a split turns them into; pure methods
// of [Area]) and the operations on a tree that store them, under the lock of the PMD table. Pages are not its business:
// what only the page behind an entry knows (is it anonymous, exclusive, dirty) is handed in as a [Page], and what an
// operation learned about it comes back.
// Pages of 1 GiB, which only files and devices have, are leaves in PUD tables: they are changed whole, and whatever
// needs a part of one empties the slot.
//
// Of two PMD tables, the parent's is locked before the child's ([Huge.Copier]).
//
// What must always hold:
//   - Exactly the leaves for which the kernel keeps a table have one deposited: anonymous ones, huge zero pages and
//     migration entries of anonymous areas. Files and shared memory have none on x86.
//   - A PMD that a processor may use is never replaced by something else without being invalid, or none, in between;
//     where the kernel flushes at once, so do we.
//   - The write permission of a new entry comes from what the old one allowed or from the area, never from both apart.
package thp
