// Package linux says what a capture tells of the kernel in it: release, features, paging, where its root tables are,
// and which part of the address space serves which purpose.
//
// What Linux does. While booting, the kernel writes a page of text, VMCOREINFO, that names its release and the
// addresses a dump tool starts from; QEMU and kdump keep it as a note. With KASLR the kernel image moves within the
// top 2 GiB by a multiple of 2 MiB, and three large areas move in steps of 1 GiB without changing their order:
//
//	user | hole | LDT | direct map | vmalloc | vmemmap | (KASAN shadow) | CPU entry | espfix | EFI | image | modules | fixmap
//	                    ^^^^^^^^^^   ^^^^^^^   ^^^^^^^ random                                         ^^^^^ random
//
// All else lies at addresses fixed at compile time, the same for four and five levels from the CPU entry area up.
// With page-table isolation (PTI) a process has two root tables, side by side in memory: the kernel's in the even
// frame, the user's, which lacks most of the kernel, in the odd one.
//
// How we find it. [Detect] takes what the capture's notes say (VMCOREINFO, control registers) and reads the upper
// tables: the direct map is the first part of the kernel half in which virtual minus physical address is constant,
// the vmalloc area and the vmemmap are the first used gigabytes behind it and behind the vmalloc area. Where the
// notes say nothing (raw and LiME captures), RAM is searched for the VMCOREINFO page and for root tables that agree
// with themselves.
//
// What must always hold:
//   - Every fact comes with the reason for it, and what was assumed is kept apart from what was found
//     ([System.Facts], [System.Assumptions]).
//   - What a capture does not contain or contradicts is said, never invented. Damage never stops detection: it
//     becomes a warning, and what can be found without the damaged part is.
//   - The number of tables and frames read is bounded, whatever the tables say.
package linux
