// Package hostmem gets memory from the operating system for tests and benchmarks of package ptescan: page tables between
// guard pages, so that a kernel that reads too far faults, and many tables in huge pages, so that times are those of the
// kernel and not of the host's own page tables.
//
// It has no use elsewhere. What must always hold: the memory stays until the test or benchmark ends, and no longer.
package hostmem
