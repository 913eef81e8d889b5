// Package ps is what the page tables of processes come to: counts of a whole address space, as ptdump ps prints them, and of
// each area, as ptdump maps does, beside what the area allows.
//
// Linux has counters of its own in mm_struct. These figures come from the entries alone, so that both can be compared.
//
// What must always hold: an entry is counted once, in the area that its first address lies in or as a stray outside of all.
// The names of JSON fields and CSV columns are stable.
package ps
