// Package litmus is a small language for tests of page-table operations, its runner, and a corpus.
//
// Whether a write bit comes back at the wrong moment is a question about a few operations in a certain order, often of
// two processors, and about the bits of one entry after each. A litmus file says just that, in lines that a person can
// read, and runs as it stands on every kernel that package mm models, and under historic behaviours: where kernels differ,
// lines carry conditions. The language is described in doc/litmus.md.
//
//	map     a 4 rw shared anon
//	write   a 0
//	uffd-register a wp
//	uffd-protect a 0
//	expect  a 0 present uffd-wp !rw
//	write   a 0 faults uffd-wp
//
// # Rooms
//
//	ast.go grammar.go            programs as values; what verbs and expected items there are
//	lex.go parse*.go scope.go    from text to programs, with errors that name file, line and column
//	format.go                    from programs to text
//	cond.go                      which lines count on which kernel
//	run.go judge.go expect.go    running a program on a [Target]
//	target.go                    what a machine must be able to do for that
//	emu*.go                      the emulator as a Target
//	trace.go snapshot.go         what each step changed
//	load.go corpus               the tests
//
// Programs do not know the emulator: only emu*.go, trace.go and the list of names in load.go do. A running kernel can be
// a Target as well.
//
// # What must always hold
//
//   - A program that Parse accepts is printed by String as text that Parse reads as the same program.
//   - A file in which nothing is expected is an error.
//   - Under a release, after every step, the machine's own check finds nothing.
package litmus
