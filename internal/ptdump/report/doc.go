// Package report is how ptdump's answers look, whatever they are about: columns, colours, sizes and hex numbers, the pieces
// of JSON and CSV, texts of a capture made harmless, and a bar of progress on a terminal.
//
// Formats append to a buffer: a capture has millions of entries, and reflection or fmt would cost more than the walk.
//
// What must always hold: a text that comes from a capture reaches a terminal through [QuoteName] or [Printable], and JSON and
// CSV through an encoder, so that no name is obeyed in place of being shown. Colours are only where the [Palette] has them.
package report
