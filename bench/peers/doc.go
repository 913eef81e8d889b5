// Package peers measures ptemu beside the one other public Go package for x86-64 page tables that we found alive,
// gvisor.dev/gvisor/pkg/ring0/pagetables. It is a module of its own, so that ptemu does not depend on its peer, and
// holds tests only, for linux/amd64.
//
//	cd bench/peers
//	go test                          # both sides end with the same translations
//	go test -bench Ratio             # alternating rounds: how many times faster, and the figures of both
//	go test -bench Peers -count 7 | tee new.txt && benchstat -col /side new.txt
//	go test -bench . -large          # also 128 MiB of PTE tables, which needs about 300 MiB of memory
//
// The size in a name is that of the PTE tables: 256 KiB are 64 tables, or 32768 pages.
//
// # What is compared
//
// Each side uses its own best call for the same result, with nobody who caches translations, and one goroutine.
//
//	             ptemu                                          gVisor
//	map          Tree.Map                                       Map, into empty tables
//	protect      Gather.Start, ChangeProtection, Finish         Map again, with other options
//	unmap        Tree.Unmap                                     Unmap, then the allocator's Recycle
//	lookup       Tree.Walk and the leaf's frame and rights      Lookup
//	protectpage  as protect, one page at a random place         as protect
//	setpage      LockPTEs, Set, Unlock, at a random place       Map of one page
//	translate    mmu: what a processor would do                 has none
//
// # What is not the same
//
// Both write real x86-64 entries into tables of four levels (five on a host that has LA57, which gVisor follows, and so
// does this package then).
//
// gVisor's tables are for its own kernel: present pages, and nothing where none is. There are no swap entries or
// markers, no soft-dirty, userfaultfd, PROT_NONE or NUMA hints. Set builds the entry anew from the options, with A set,
// and D where it is writable: what a processor noted there is lost. To change rights, the caller must know the frames
// and Map again, once for each run of consecutive frames. (A range whose frames are not consecutive would so take a
// call a page; the benchmark has one run, which is gVisor's best case.) It has no lock of its own, since its callers
// hold one, and it keeps no account of what processors must forget. Each entry is read and stored atomically, one at a
// time, since a processor may be walking the tables. It is written to run without a stack check or an allocation, in
// places where Go cannot. Where addresses and frames agree it makes 2 MiB and 1 GiB pages by itself; here the frames are
// chosen such that it never can, so both sides have one entry for each page. Unmap also frees the tables above the
// PTEs.
//
// ptemu does what Linux does to an entry: what else stands in it is kept, dirty and saved-dirty change places, other
// kinds of entries are recognised and changed by their own rules, pages are counted, and what processors must forget is
// gathered. Each PTE table is locked while it is changed. Its emulated processors take that lock too, and therefore
// whole vectors can be stored. Unmap frees PTE tables only, and leaves the tables above to FreeTables, as Linux does.
//
// Memory differs too: gVisor's RuntimeAllocator takes tables from Go's heap, ptemu's come from an arena that asks the
// host for huge pages.
//
// What must always hold: both sides translate every address alike after any sequence of operations that both have.
// TestSameTranslations checks it, with what each says about itself, and with the walk of package mmu over the tables of
// both.
package peers
