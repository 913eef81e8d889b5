// Package tree is one tree of page tables with everything that decides how its entries are read, and the walks over it.
//
// Linux gives an entry in leaf position one of many meanings: a page, a page without rights, a swap slot, a page that
// migrates, a marker. A [Leaf] is such an entry with its meaning and what all levels above permit. There are three ways
// through a tree: [Tree.Walk] hands over leaf by leaf; [Tree.Stretches] hands over neighbours of one table that agree in all
// but where they point, found by vector code; [Tree.Visit] hands over whole tables, and a [Decoder] for what is in them.
// [Memo] lets a visitor decode a table once that many entries lead to.
//
// What must always hold: nothing is dropped silently. What cannot be read or makes no sense reaches the sink as a
// [pgtable.Problem], at its place in the order of addresses. A walk's memory does not grow with the capture.
package tree
