// Package where is the language of --where: conditions on entries, compiled for a kernel before the walk begins.
//
// What must always hold: a name means the same in every release, and is false where a kernel does not have it; an error
// points at its place in the expression; and parsing ends, however deep an expression is nested.
package where
