// Package vectors holds the entry types of x86 and swapentry against results of the kernel's own functions.
//
// A vector file lists calls: a function's name, its inputs, and what the function returned inside a running kernel.
// Comments at its head say which kernel and machine that was; [Config] turns them into an x86.ABI and a
// swapentry.Layout. [Run] makes the same calls on our side, through a table from the kernel's names to our methods,
// and compares.
//
// What must always hold: nothing is skipped. A function that the table does not know, a constant that is neither
// mapped nor listed with a reason, a line that cannot be read, a file that ends early: each is an error.
package vectors
