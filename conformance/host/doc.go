// Package host holds the emulator against the kernel of the machine that runs the tests, without QEMU.
//
// The agent (package agent) runs as an ordinary process, and makes the processes of a litmus program. Their page tables
// cannot be read from outside, but the administrator is told a good deal of them: /proc/pid/pagemap says of each page whether it is
// present or swapped, of a file or shared memory, mapped once, soft-dirty, write-protected by userfaultfd, a guard, and
// in which frame it lies; PAGEMAP_SCAN names its categories. All of this is compared with the emulator after every
// operation. Frames are compared by identity: the same frame here exactly where it is the same there, and pages that move do so
// on both.
//
// Only what harms nobody is done: calls of the program's own processes on their own memory. No swapping, no
// migration, no merging, no poisoning, no setting of the machine; see [Host.NotHere].
//
// A release between two that the emulator knows has some of what lies between them. A program then agrees if the whole of
// it agrees with one of the two.
//
// # Noise
//
// Other things run on the machine: reclaim, khugepaged, NUMA balancing, pages in another processor's queue. They can change a page
// behind a program's back. A program with a difference is run again, up to three times in all; one run that agrees
// from beginning to end is enough, for what the emulator says happens has then happened. Such programs are counted.
//
// What must always hold: whatever happens, no process stays behind.
package host
