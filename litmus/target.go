package litmus

import "ptemu/arch/x86"

// Target is a machine that programs run on: the emulator, or a real kernel behind an agent.
type Target interface {
	// ABI says what the entries look like.
	ABI() *x86.ABI
	// NotHere returns why the kernel does not offer an operation, "" if it does.
	NotHere(op *Op) string
	// Do carries out an operation to its end.
	Do(c *Call) Outcome
	// Start begins an operation on a processor and leaves it standing at the point. False: it came to its end before.
	Start(c *Call, until string) (stopped bool, out Outcome, err error)
	// Continue goes on with what stands on the processor, to a point or with "" to its end.
	Continue(cpu int, until string) (stopped bool, out Outcome, err error)
	// Entry returns what is in leaf position at an address of a process.
	Entry(process string, va x86.Virt) (Entry, error)
	// Pagemap returns what /proc/pid/pagemap shows of a page, Scan its categories as PAGEMAP_SCAN does.
	Pagemap(process string, va x86.Virt) ([]string, error)
	Scan(process string, va x86.Virt) ([]string, error)
	// Area returns what the process has mapped at an address; false: nothing.
	Area(process string, va x86.Virt) (Area, bool, error)
	// Verify looks for what may never be, whatever the program expects.
	Verify() error
	Close() error
}

// Partial is a [Target] that cannot see everything. What it cannot see is passed over, and counted in Result.Unseen.
type Partial interface {
	// Sees reports whether an expected item can be seen; or, of "fault", whether an access took a page fault, and, of "point",
	// whether an operation came to one.
	Sees(item string) bool
}

// Particular is a [Target] that some programs do not fit, although it has all their operations.
type Particular interface {
	// Expects returns why what a program expects does not hold on this machine whatever the kernel does, "" if it may.
	Expects(p *Program) string
	// Never returns why an operation cannot even be tried, "" if it can. (That NotHere has a reason may be what a test expects.)
	Never(op *Op) string
}

// Span is a row of pages.
type Span struct {
	VA    x86.Virt
	Pages int
}

// Bytes returns its length.
func (s Span) Bytes() uint64 { return uint64(s.Pages) * x86.PageSize }

// Call is an operation with addresses in place of regions.
type Call struct {
	CPU     int // NoCPU: the home of the process
	Process string
	Op      *Op
	At, To  Span
	New     x86.Virt // where a new region is to be
}

// Outcome is what came of an operation.
type Outcome struct {
	// Faults is by whom an access was refused, one of the names of the language; each page of the range is tried,
	// and all must end alike.
	Faults string
	// Errno is why a call failed.
	Errno string
	// Taken counts the pages at which an access took a page fault.
	Taken int
	// Wrong says that something was not as the operation itself said (contents that were read).
	Wrong string
	// Err is anything else that went wrong.
	Err error
}

// Entry is what is in leaf position, and the page behind it.
type Entry struct {
	Level x86.Level
	Raw   uint64
	PFN   x86.PFN // of the page at the address, if Page is not nil
	Page  *Page
	// FlushPending: the address space owes its processors a flush.
	FlushPending bool
}

// Page is what is known of a page.
type Page struct {
	Mapcount, Refs   int
	Exclusive        bool
	Anon, KSM        bool
	Zero             bool // a zero page, also a huge one
	Pinned           bool
	SwapCached       bool
	Dirty            bool
	Order            int
	Node             int
	Contents         byte
	Uniform          bool // all bytes are Contents
	ContentsAreKnown bool
}

// Area is what is known of an area.
type Area struct {
	Start, End x86.Virt
	Flags      []string // as smaps shows them
	Prot       uint64   // vm_page_prot
}
