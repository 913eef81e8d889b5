// Package session opens a capture as commands want it: it finds the kernel, chooses the root table, and on request finds the
// processes, in the kernel's memory or in what an earlier extract kept of it.
//
// What must always hold: what was assumed rather than found is said, with its reason, and flags decide before both. An
// interrupted command reads no further frame.
package session
