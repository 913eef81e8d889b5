// Package diff compares two captures of one machine, tree by tree: pieces of both run side by side, and PTE tables that are
// equal are passed over.
//
// What must always hold: an address at which the captures differ is in the output or in a counted problem, and a large page
// that was split, or pages that were collapsed, are compared by what each address maps.
package diff
