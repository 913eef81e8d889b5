// Package ptdump is the body of the ptdump command: it walks the page tables of a capture, decodes every entry
// in leaf position, and renders what it found.
//
// The data's way: capture.Open gives frames, linux.Detect says which kernel they belong to, both become a
// [Session]. [Session.Walk] reads the tables once, in address order, and hands each leaf-position entry, decoded,
// to a sink. The commands are sinks: entries prints each, dump merges neighbours of equal meaning. Commands about processes
// make a session of every root that linux/proc finds (spaces.go) and walk them side by side.
//
// The files:
//
//	cmd_*.go                       one command each, its flags and its help; cmd_root, cmd_flags, cmd_open, cmd_run are what all share
//	session, walk, decode, model   the walk and what an entry is
//	runs, memo, fold, kernelstyle  dump
//	where*, swapuse, problem       what is asked of entries, and what is said of them
//	output*, table, color, outfile, progress
//	                               formats, and where they go
//	spaces, stretch, count         address spaces of all processes, walked by stretches of equal attributes
//	ps, maps, who*                 the answers of those commands
//	audit*, sarif                  rules, what they need to know of frames and areas, findings
//	diff*                          two trees side by side
//	kept, tableset                 what extract writes and finds again
//	picture*, web/                 the page and the picture of map
//
// What must always hold: nothing is dropped silently. What cannot be read or makes no sense becomes a [Problem] at
// its place in the output. The memory that a walk uses does not grow with the capture; what commands keep of all processes has a
// bound, and they say so when it is reached.
package ptdump
