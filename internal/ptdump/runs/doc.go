// Package runs merges a tree into ranges: neighbouring entries of equal meaning as one [Run], under the name of the region
// that they lie in. It also writes the ranges that Linux's own debugfs files page_tables print, in their form ([KernelStyle]).
//
// Tables that several entries lead to are merged once, and their ranges used again (see [tree.Memo]); of PTE tables, vector
// code finds where a range ends.
//
// What must always hold: ranges are exactly the leaves, merged: no filter, no reuse and no vector code changes them.
package runs
