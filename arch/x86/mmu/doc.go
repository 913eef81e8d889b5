// Package mmu is the processor's side of paging: the walk from a linear address to a physical one, the rights
// that the walk finds, the exception that a refused access raises, and the A and D bits that a translation sets.
// Linux is written against these rules; here they stand alone, over any [physmem.Reader].
//
// An [MMU] is made from the registers that steer paging ([Regs]) and the processor's sizes ([x86.Paging]).
// [MMU.Walk] reads one entry a level and gives a [Walk], which answers for every kind of [Access] without reading
// again: [Walk.Translate] gives the physical address or the [*Fault].
//
// # Order of checks
//
//  1. A non-canonical address never reaches the tables: #GP(0), or #SS(0) for an access through the stack segment.
//  2. From the root down, in each entry: P first (clear: no translation, error code without P), then the
//     reserved bits (error code P and RSVD). An entry that fails ends the walk; entries below it are never read.
//     Bits of an entry without P are never looked at.
//  3. Only a complete translation has rights. All rules apply together: a refused access has the error code of a
//     protection violation (P), whichever rules refused it.
//
// # Reserved bits of a present entry
//
//   - Bits 51 down to MAXPHYADDR, at every level, except AMD's encryption bit where one is in use.
//   - Bit 63, at every level, if EFER.NXE is clear.
//   - Bit 7 (PS) in entries of the two top levels (P4D, PGD); in a PUD entry of a processor without 1 GiB pages.
//   - Bits 29 to 13 of a 1 GiB leaf, bits 20 to 13 of a 2 MiB leaf. Bit 12 is PAT there.
//
// AMD also reserves bit 8 in P4D and PGD entries and in PUD entries that point to a table. Intel ignores it
// there. This package follows Intel.
//
// # Rights
//
// An address is a user address if U/S is set in every entry of its walk, else a supervisor address; it is
// writable if R/W is set in every entry, and executable if XD is clear in every entry. A user-mode access is one
// at CPL 3. A supervisor-mode access is any other, and every access that the processor makes for itself
// (descriptor tables, TSS) at any CPL: those are implicit.
//
//   - A user-mode access reaches user addresses only.
//   - A read needs no more. A write needs a writable address; in supervisor mode only if CR0.WP is set.
//   - A fetch needs an executable address; in supervisor mode with CR4.SMEP, also not a user address.
//   - With CR4.SMAP, supervisor-mode data accesses to user addresses need RFLAGS.AC, and must be explicit.
//   - A shadow-stack access needs a shadow-stack address (the leaf has R/W clear and D set, all entries above
//     have R/W set) of its own mode: user for user, supervisor for supervisor.
//   - A data access, shadow stacks included, needs the protection key's consent. The key stands in the leaf. PKRU
//     rules user addresses if CR4.PKE is set, IA32_PKRS supervisor addresses if CR4.PKS is set. AD forbids every
//     data access; WD forbids writes, where supervisor-mode writes are exempt if CR0.WP is clear.
//
// # Error code
//
// W, U and SS describe the access, whatever the reason of the fault. I is set for a fetch if CR4.SMEP or EFER.NXE
// is set. PK is set for every data access that the key forbids, also if another rule forbids it too: so the SDM
// defines it, and so KVM's tests find it on processors. (QEMU's TCG reports a user-mode access to a
// supervisor address without PK.) A page fault's CR2 is [Fault.VA].
//
// # A and D
//
// [Walk.Marks] says which entries a translation marks. What is modelled:
//
//   - A permitted access sets A in every entry of the walk, and, if it is a write, D in the leaf. That includes
//     a write that only CR0.WP = 0 permits. (That a processor with CET never leaves D set beside a clear R/W when
//     another processor clears R/W meanwhile is the Setter's comparison with what the walk read.)
//   - A refused access, and a walk that ends early, set A in the entries that led to another table, but nothing in
//     the last entry. The SDM leaves A of the last entry to the model; KVM's tests rely on it staying clear.
//   - Nothing is set speculatively, and nothing if a table cannot be read or the address is not canonical.
//
// Memory is read-only here, so [Walk.Commit] hands the marks to a [Setter].
//
// # Caches
//
// A [TLB] keeps translations and, as paging-structure caches do, the tables above them ([Upper]); it never looks at
// memory again. A [Core] is a processor that uses one: look up, walk, commit, fill.
//
//   - What is cached: the frame, AND of R/W and U/S, OR of XD, and all 64 bits of the leaf. Registers are not: an
//     access is judged by CR0, CR4, AC and the keys of its own time.
//   - A translation is cached only from an access that it permits, so with A set in every entry. An entry that is not
//     present, or has a reserved bit, is never cached.
//   - A write needs D in the cached leaf. If it is clear there, the processor walks, sets D in memory, and fills anew:
//     a write never goes through a clean cached entry whose leaf became read-only.
//   - A page fault drops what is cached for its address, and the tables on the way. The SDM lets a processor fault
//     from stale entries alone ("Optional Invalidation"). By default a Core drops them first and faults only if a
//     walk from the root refuses too, as most processors do for rights that a cached leaf lacks; [Core.Spurious] is
//     the other choice.
//   - A global translation serves every [Tag]. The tables above it are cached for its tag alone.
//   - Pages of several sizes may be cached for one address after a change of size without a flush. The smallest
//     answers; the SDM promises neither.
//   - A walk that was under way when its TLB was flushed is made again, so nothing read before a flush is cached after.
//   - Nothing is cached ahead of an access, and nothing is dropped unasked, unless a [TLBSize] limits it.
//
// # Not modelled
//
// Paging other than 4 and 5 levels in long mode; separate instruction TLBs; nested paging, HLAT, SGX, AMD's RMP;
// linear-address masking (LAM, UAI) and separation (CR4.LASS, which turns faults of accesses to the other half into #GP
// before any walk); MTRRs. An access that crosses a page boundary is two accesses.
//
// What must always hold: a walk reads at most one entry a level, so it ends on any memory; and whatever the
// memory holds, the answer is a translation, a fault, or an error that names the table.
//
// Intel SDM volume 3A, "Paging": "4-Level Paging and 5-Level Paging", "Access Rights", "Page-Fault Exceptions",
// "Accessed and Dirty Flags"; AMD APM volume 2, "Page Translation and Protection".
package mmu
