// Package space is the address spaces of a captured machine: which root table, and which processes run on it. Linux lets
// threads, and processes after vfork or with CLONE_VM, share an mm_struct: such a space is there once. The kernel's half is
// the same in all and belongs to init_mm.
//
// [Workers] walk several spaces at a time.
//
// What must always hold: answers do not depend on how many workers there are.
package space
