// Package ptdump is the command line of ptdump: flags, help, what each command opens and runs, where its output goes, and
// the exit code. What the commands find and how it looks is below:
//
//	session    opens a capture: its kernel, the root that is asked for, its processes
//	tree       one tree of page tables, decoded; the walks over it
//	where      the language of --where
//	entries    entries, one a line
//	runs       dump: ranges of equal meaning, also as the kernel prints them
//	space      the address spaces of all processes
//	ps         ps and maps: what the tables of processes come to
//	who        who maps a frame
//	audit      what cannot be in the tables of a sound machine
//	diff       two captures side by side
//	picture    the page and the picture of map
//	kept       what extract keeps, and finds again
//	report     how answers look
//	usage      the words of the command line, and the error of a wrong one
//
// The data's way: capture.Open gives frames, linux.Detect says which kernel they belong to, [session.Open] makes a
// [tree.Tree] of both. A command hands it a sink: entries prints each entry, runs merges neighbours of equal meaning.
// Commands about processes make a tree of every root that linux/proc finds (package space) and walk them side by side.
//
// The files are cmd_*.go, one for each command with its flags and its help; info and translate have their answers beside
// them. cmd_root, cmd_flags, cmd_values, cmd_spans, cmd_places, cmd_complete, cmd_open, cmd_unpacking, cmd_processes, cmd_run
// and cmd_outfile are what all share.
//
// What must always hold: nothing is dropped silently. What cannot be read or makes no sense becomes a [pgtable.Problem] at its
// place in the output, and an exit code. The memory that a walk uses does not grow with the capture; what commands keep of
// all processes has a bound, and they say so when it is reached.
package ptdump
