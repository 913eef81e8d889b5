// Package bench measures operations on page tables, and what they can be compared with.
//
// A [Case] is one operation on a [Set] of tables: a tree in emulated memory whose PTE tables have 256 KiB, 8 MiB, 128 MiB
// or 1 GiB together, in frames that follow each other or lie in random order. Its variants do the same to the same
// tables:
//   - the operation through the public API of pgtable and thp, from the root, with locks and gather, at each level of
//     instructions that the host has (avx512, avx2, generic). The scans with runs alone call the kernels of
//     internal/ptescan for each table, since what ptdump reads is no tree of ours.
//   - floors: the same bytes bare read, or read, flipped and written, by the best code for it, in the same order. A
//     floor's time is that of the fastest of several codes, whichever level runs.
//   - scalar: a plain Go loop over the tables, without locks, with the masks of arch/x86 in local variables. It gives the
//     same result as the methods of x86.PTE in a loop, in half their time.
//   - locked: one entry at a time through the public API: the table locked from the root, the entry changed, the table
//     unlocked.
//   - kernel: the kernel that runs here, doing the same to as many pages of real memory, at most 4 GiB of them in pages
//     of 4 KiB, each written to once. On larger sets also to the zero page, mapped up to 16 million times, as a variant of
//     its own. fork() is that of a second process. What the kernel refuses, or has no call for, is skipped with the
//     reason.
//
// A variant has two passes: the second undoes the first. Cases about a change and its inverse time both and give the
// mean; in the others only the first counts. The time of one thread is its processor time, that of two goroutines is wall
// time. On sets above 64 MiB, generic and scalar do another part of them in each pair of passes, and locked above 8 MiB,
// so that a round does not last for seconds. Fork, zap, map, aging and the huge pages go up to 128 MiB of tables.
//
// Translation has no TLB: it is the processor's walk of four levels at random addresses, among 64 pages (the caches of the
// host are warm) and among all.
//
//	go test -bench . ./bench             # 256 KiB and 8 MiB; -bench.large: also 128 MiB and 1 GiB, and 4 GiB for the kernel
//	go run ./bench/report                # all, interleaved in rounds, with medians and quartiles
//
// Benchmarks are named case/size/order/variant. They run one variant after the other; ratios are the report's business.
//
// What must always hold:
//   - The variants of a case but floors and the kernel leave the same entries and count the same.
//   - After a pair of passes the tables are what they were.
//   - What is not the same work is not compared: it is named, or left out with the reason.
package bench
