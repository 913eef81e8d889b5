package audit

import (
	"cmp"
	"context"
	"slices"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/physmem"
)

// severity says how bad a finding is. Its text is the "severity" of the JSON output and the "level" of SARIF.
type severity uint8

// The severities, rising.
const (
	sevNote    severity = iota // may be meant, or be caught in the middle of something
	sevWarning                 // no sound kernel has it, but nothing may come of it
	sevError                   // protection, or somebody's data, is lost
)

// SeverityNames are the severities, the least first.
var SeverityNames = []string{"note", "warning", "error"}

func (s severity) String() string { return SeverityNames[s] }

// ruleNeeds is what a rule cannot be decided without.
type ruleNeeds uint8

const (
	needKernel ruleNeeds = 1 << iota // the kernel's tables
	needRAM                          // the direct map, which says where RAM is
	needAreas                        // the areas of processes
	needTracks                       // an area with VM_SOFTDIRTY, so that its absence elsewhere means something
	needPTI                          // a pair of roots
	needCPUs                         // registers of processors
	needMany                         // two address spaces at least
)

// rule is something that must hold in the page tables of a sound machine, and its documentation.
type rule struct {
	Name     string // stable, in kebab case
	Severity severity
	Needs    ruleNeeds
	// Title says what is found. Why says why it matters, How how it is decided, Alarms what is no fault though it is found.
	Title, Why, How, Alarms string
}

// place is where something was found.
type place struct {
	Space *addressSpace
	VA    x86.Virt
	Level x86.Level
	Raw   uint64
	Entry x86.Phys // where the entry itself is
}

// finding is a breach of a rule: by one entry, or by neighbours that break it alike.
type finding struct {
	place    // of the first entry
	Rule     ruleID
	Severity severity
	// Size is the bytes of address space from VA on, 0 for findings that are not about an address. Count is the
	// entries in it that break the rule.
	Size, Count uint64
	PFN         x86.PFN
	HasPFN      bool
	Region      string // of the kernel half, or the name of the area
	Text        string // what is wrong, in words
	Explained   string // why this is as it should be; the severity is then that of a note
	// Others are more places that the finding is about, of the first entry; OthersMore is how many were left out.
	Others     []place
	OthersMore int
}

// end returns the last address.
func (f *finding) end() x86.Virt { return f.VA + x86.Virt(f.Size) - 1 }

// notRun is a rule that could not be decided, for all or some address spaces.
type notRun struct {
	Rule ruleID
	Why  string
}

// Report is what an audit found.
type Report struct {
	Findings []*finding // the worst first, then by rule, address space and address
	NotRun   []notRun   // by rule
	// Dropped counts findings that are not listed, because their rule has too many.
	Dropped map[ruleID]uint64
	// Notes say what else limits the audit.
	Notes  []string
	Spaces int
}

// Failed reports that something was found that is not explained.
func (r *Report) Failed() bool {
	return len(r.Dropped) > 0 || slices.ContainsFunc(r.Findings, func(f *finding) bool { return f.Explained == "" })
}

// addressSpace is one address space under audit.
type addressSpace struct {
	*space.Space
	num   int    // order of the output
	name  string // "kernel", "CPU 0"; "" for those of processes
	roots linux.Roots
	// complete says that areas holds all areas.
	areas    []auditArea
	complete bool
}

// Input is what an audit looks at.
type Input struct {
	*tree.Tree
	Markers []linux.Marker
	Kernel  *addressSpace // whose kernel half is that of all: init_mm's, or a process's; nil if no root is known
	User    []*addressSpace
	// Why says why there are no processes, "" if there are.
	Why string
	// Tracks says that some area has VM_SOFTDIRTY.
	Tracks bool
	CPUs   []auditCPU
}

// Options limit an audit.
type Options struct {
	Rules [ruleCount]bool // what to look for
	Min   severity
}

// auditor is an audit in progress.
type auditor struct {
	ctx  context.Context
	with space.Workers
	in   *Input
	opt  Options
	ram  ramMap
	fr   frameTable
	room chunkRoom // of fr
	slot swapSlots
	exec []execRange // what the kernel executes

	entryArea map[x86.PFN]bool // frames that the CPU entry area maps
	clashes   clashCount
	rep       Report
}

// Audit looks through all address spaces.
//
// The kernel's half is read first, because it tells where RAM is; then every user half, in parallel. Each frame has a few
// bits of state, and where these clash (a page table that is mapped writable, say) all is read once more, to name the
// places.
func (in *Input) Audit(ctx context.Context, opt Options, with space.Workers) (*Report, error) {
	a := &auditor{ctx: ctx, with: with, in: in, opt: opt, entryArea: map[x86.PFN]bool{}}
	a.rep.Dropped = map[ruleID]uint64{}
	a.room.most, a.slot.room.most = maxFrameChunks, maxSlotChunks
	a.fr.room = &a.room
	a.notRun()
	lists := make([]*findingList, 0, len(in.User)+3)
	kernel, err := a.kernelHalf()
	if err != nil {
		return nil, err
	}
	lists = append(lists, kernel...)
	user := make([]*findingList, len(in.User))
	err = with.Each(ctx, "auditing", len(in.User), func(i int) (err error) {
		user[i], err = a.userHalf(in.User[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	lists = append(lists, user...)
	more, err := a.resolve()
	if err != nil {
		return nil, err
	}
	a.collect(append(lists, more))
	return &a.rep, nil
}

// Bounds on what is kept of findings: of a rule in one address space, in one address space, and of a rule in all.
const (
	maxSpaceRule  = 128
	maxSpaceAll   = 1024
	maxAuditRule  = 2048
	maxPlaces     = 4
	maxClashes    = 1 << 14
	maxRepeats    = 1 << 12
	maxExecRanges = 1 << 16
	maxEntryArea  = 1 << 18
)

// collect puts all findings in order.
func (a *auditor) collect(lists []*findingList) {
	var per [ruleCount]int
	for _, l := range lists {
		for r, n := range l.dropped {
			a.rep.Dropped[r] += n
		}
		for _, f := range l.all {
			if f.Severity < a.opt.Min {
				continue
			}
			if per[f.Rule]++; per[f.Rule] > maxAuditRule {
				a.rep.Dropped[f.Rule] += f.Count
				continue
			}
			a.rep.Findings = append(a.rep.Findings, f)
		}
	}
	slices.SortStableFunc(a.rep.Findings, func(x, y *finding) int {
		return cmp.Or(cmp.Compare(y.Severity, x.Severity), cmp.Compare(x.Rule, y.Rule), cmp.Compare(x.Space.num, y.Space.num),
			cmp.Compare(x.VA, y.VA))
	})
	a.rep.Spaces = len(a.in.User)
	if a.room.full() || a.slot.room.full() {
		a.rep.Notes = append(a.rep.Notes, "the tables name more frames than can be kept track of: what needs two mappings of one frame was not looked for in all of them")
	}
}

// interrupted says why the work is to end, nil if it is not.
func (a *auditor) interrupted() error { return a.ctx.Err() }

// readTable reads a table; missing ones give false.
func (a *auditor) readTable(pfn x86.PFN, t *physmem.Table) bool {
	return physmem.ReadTable(a.in.Mem, pfn, t) == nil
}
