// Package kallsyms reads the names and addresses of a kernel's own symbols from its memory, as /proc/kallsyms would
// print them.
//
// What Linux does. The build puts a sorted list of symbols into the kernel's read-only data:
//
//	num_syms     how many
//	names        for each, its length and so many bytes, each of which stands for a token: 1 byte length, or
//	             2 if the first has bit 7 set (7 bits and 8 bits more)
//	token_table  256 texts, each with a NUL; the first character of a whole name is its type, as nm prints it
//	token_index  where each text starts
//	offsets      for each, its address, in one of four encodings (or addresses, for the first)
//
//	absolute         the address, 8 bytes                                                       until 6.10
//	base-relative    4 bytes, to be added to relative_base                                      until 6.19
//	absolute-percpu  4 bytes: itself if not negative, else relative_base - 1 less it            until 6.14
//	place-relative   4 signed bytes, to be added to the address they stand at                   since 7.0
//
// The address of each table is in VMCOREINFO since 6.0; before, and where that is lost, the tables are found by their shape.
// Without CONFIG_KALLSYMS_ALL only functions are listed. Symbols that modules may use are listed once more in the export
// table, variables as well.
//
// How we find it. What the encoding is, no table says: it is the one in which _stext has the address that VMCOREINFO
// gives it, and the addresses ascend.
//
// What must always hold: tables that were altered give an error that names the table and the offset. Memory and work
// are bounded, whatever they say. Names are kept compressed.
package kallsyms
