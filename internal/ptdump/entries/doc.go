// Package entries writes entries in leaf position, one a line, as text, JSON or CSV, and has the pieces of these lines that
// other commands print too: flags, rights, what an entry points to, problems. [Tally] counts what is remarkable on the way.
//
// What must always hold: the raw entry stands beside its meaning, and a [pgtable.Problem] in the output at its place. The
// names of JSON fields and CSV columns are stable.
package entries
