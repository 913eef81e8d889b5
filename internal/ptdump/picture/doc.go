// Package picture draws an address space: as a page for the browser, whose program is in web/, or as SVG.
//
// The page holds every table once. An entry is stored as a class (all that it says but its number) and that number, so
// that a page of millions of entries stays small.
//
// What must always hold: the 64 bits of every entry can be had back from the page, or the page says what was left out. The
// page needs no network, and text of the capture never becomes markup or a program.
package picture
