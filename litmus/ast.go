package litmus

import "fmt"

// Pos is a place in a file. Line and Col count from 1; Col counts bytes.
type Pos struct {
	File      string
	Line, Col int
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Error is something wrong with a file, at its place.
type Error struct {
	Pos Pos
	Msg string
}

func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Program is a test: what it is about, and its steps.
type Program struct {
	Name    string // of the file, without extension, and without the folder that was asked for
	Title   string
	Sources []string
	// Kernels limits the releases for which the test makes sense; empty: all.
	Kernels Cond
	// Policies are the historic behaviours under which the test is run too.
	Policies []PolicyRun
	Machine  []Option // what the machine has, where it matters
	Steps    []Step
}

// PolicyRun is a historic behaviour and the release that it is tried with, "" for the oldest.
type PolicyRun struct {
	Policy, Kernel string
	Pos            Pos
}

// DefaultProcess is the process that every test begins with.
const DefaultProcess = "p"

// NoCPU stands for the processor on which the process runs anyway.
const NoCPU = -1

// Step is a line: an operation or an expectation.
type Step struct {
	Pos     Pos
	CPU     int    // NoCPU: the home of the process
	Process string // "": DefaultProcess
	// Start leaves the operation standing at point Until. Of a continue, Until is where it stops next, "" for nowhere.
	Start bool
	Until string
	Op    Op
	Items []Item // of an expectation
	// What must come of an operation; all empty: success.
	Faults string  // an access is refused: by whom
	Fails  string  // a call fails: with which errno
	Taken  Tristat // whether an access that succeeds takes a page fault
	Under  Cond
}

// Tristat is whether something is wanted, or not, or does not matter.
type Tristat uint8

// The three.
const (
	Whatever Tristat = iota
	Wanted
	Unwanted
)

// Proc returns the name of the process.
func (s *Step) Proc() string {
	if s.Process == "" {
		return DefaultProcess
	}
	return s.Process
}

// Pages names pages of a region: First to Last, both inclusive, or, with Whole, all.
type Pages struct {
	Region      string
	First, Last int
	Whole       bool
}

// Op is an operation: a verb and what its grammar (see verbs) gives it.
type Op struct {
	Verb    string
	At      Pages    // what it acts on
	To      Pages    // the other pages of those that have two
	Name    string   // of what is made or named: region, process, file, handle
	Count   int      // pages
	Prot    string   // "", "none", or some of "rwx" in this order
	Options []Option // in the order of the grammar
}

// Option is a word that changes what an operation does, some with a number or a name.
type Option struct {
	Name string
	Num  uint64
	Arg  string
}

// Option returns the option called name.
func (o *Op) Option(name string) (Option, bool) {
	for _, x := range o.Options {
		if x.Name == name {
			return x, true
		}
	}
	return Option{}, false
}

// Has reports whether the option is given.
func (o *Op) Has(name string) bool { _, ok := o.Option(name); return ok }

// Num returns the number of an option, or def.
func (o *Op) Num(name string, def uint64) uint64 {
	if x, ok := o.Option(name); ok {
		return x.Num
	}
	return def
}

// Item is one thing expected of an entry.
type Item struct {
	Pos   Pos
	Not   bool
	Name  string
	Num   uint64
	Arg   string   // a name
	List  []string // of a list, "!" before what must not be there
	Proc  string   // of Other
	Other Pages
}

// Cond says when a line counts. Empty: always (but see the reference on groups of lines).
type Cond []Term

// Term is one alternative of a condition: a release, compared with Op ("", ">=", "<", "<=", ">"), the word "releases",
// or the name of a historic policy.
type Term struct {
	Pos    Pos
	Op     string
	Name   string
	policy bool
}
