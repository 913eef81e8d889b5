// Package x86 is the ground floor: the entries of Linux's x86-64 page tables as values.
//
// Linux keeps five kinds of table entry (pte_t, pmd_t, pud_t, p4d_t, pgd_t), all 64-bit words with nearly, but
// not quite, the same bits. Here they are the distinct types [PTE], [PMD], [PUD], [P4D] and [PGD]. A method takes
// a value and returns a value; nothing here touches memory, allocates, or looks at the machine that runs the
// program. Names are the kernel's stems in Go case: pte_mkwrite_novma() is [PTE.MkWriteNoVMA].
//
// pte_same(), pmd_same() and pud_same() compare all 64 bits, A and D included: they are ==.
//
// What differs between kernels and machines is an [ABI], made from a [Kernel] (features of a release) and a
// [Paging] (the processor); methods whose result depends on it take it as their first argument.
//
// Three things must always hold:
//   - Any 64-bit value survives: decoding never fails and keeps every bit. Whether an entry is legal is a
//     separate question.
//   - A frame is only ever read through the PFN methods: a non-zero entry without P stores it inverted (the L1TF
//     guard of arch/x86/include/asm/pgtable-invert.h).
//   - Every function here returns what the kernel's own function of that name returns, for every input.
//
// "Linux:" lines in the comments refer to 7.2.13 unless they name another release.
package x86
