package compare

import (
	"fmt"
	"slices"

	"ptemu/arch/x86"
	"ptemu/litmus"
)

// Record is what a program did on one target.
type Record struct {
	Program *litmus.Program
	NotHere string // why the target cannot run it; then there are no steps
	Steps   []Step
	abi     *x86.ABI
}

// Step is what one step did.
type Step struct {
	Line    *litmus.Step
	Did     bool // an operation, not an expectation
	Outcome litmus.Outcome
	Entries []Row
}

// Row is what is in leaf position in all pages of one region of one process.
type Row struct {
	Process, Region string
	Start           x86.Virt
	Entries         []Leaf
}

// Leaf is an entry and its level.
type Leaf struct {
	Raw   uint64
	Level x86.Level
}

// reader is a target that reads entries without what lies behind them.
type reader interface {
	Raw(process string, va x86.Virt) (litmus.Entry, error)
}

// settler is a target that has things to do behind each operation, so that the next finds all pages at rest.
type settler interface{ Settle() error }

// atRest are the verbs that leave pages at rest anyway.
var atRest = map[string]bool{
	"map": true, "unmap": true, "protect": true, "fork": true, "exit": true, "pkru": true, "file": true, "uffd": true, "uffd-register": true,
	"uffd-unregister": true, "uffd-protect": true, "scan-protect": true, "clear-refs": true,
}

// Run runs the program on a fresh target as the kernel release, and records every step. Whatever comes of an operation,
// the program goes on; only an error that is no outcome of the language ends it.
func Run(p *litmus.Program, t litmus.Target, kernel string) (*Record, error) {
	r := &recorder{Target: t, record: &Record{Program: p, abi: t.ABI()}, processes: []string{litmus.DefaultProcess}, spans: map[string]litmus.Span{}}
	for i, counts := range p.Applies(kernel, "") {
		if reason := t.NotHere(&p.Steps[i].Op); counts && reason != "" {
			r.record.NotHere = reason
			return r.record, nil
		}
	}
	result := litmus.Run(p, r, kernel, "", litmus.Observer{Before: r.before, After: r.after})
	if result.Verdict == litmus.NotHere {
		r.record.NotHere = result.Reason
		return r.record, nil
	}
	if r.record.NotHere != "" {
		return r.record, nil
	}
	return r.record, r.err
}

// recorder is a target that records what is done to another.
type recorder struct {
	litmus.Target
	record    *Record
	processes []string
	regions   []string
	spans     map[string]litmus.Span
	step      *litmus.Step
	did       bool
	ended     bool // by an operation that never ends
	outcome   litmus.Outcome
	err       error
}

func (r *recorder) before(s *litmus.Step) { r.step, r.did, r.outcome = s, false, litmus.Outcome{} }

// Do passes an operation on, and tells the runner that it ended as expected.
func (r *recorder) Do(c *litmus.Call) litmus.Outcome {
	if r.ended {
		return litmus.Outcome{Faults: r.step.Faults, Errno: r.step.Fails}
	}
	switch c.Op.Verb {
	case "map":
		r.region(c.Op.Name, litmus.Span{VA: c.New, Pages: c.Op.Count})
	case "remap":
		r.region(c.Op.Name, litmus.Span{VA: c.New, Pages: int(c.Op.Num("pages", uint64(c.At.Pages)))})
	}
	out := r.Target.Do(c)
	r.ended = out.Errno == "ERESTARTNOINTR"
	if t, ok := r.Target.(settler); ok && out.Err == nil && !r.ended && !atRest[c.Op.Verb] {
		out.Err = t.Settle()
	}
	r.did, r.outcome = true, out
	if out.Err != nil {
		r.err = fmt.Errorf("%v: %s: %w", r.step.Pos, r.step, out.Err)
		return out
	}
	switch {
	case out.Errno != "" || out.Faults != "" && out.Faults != "killed":
	case c.Op.Verb == "fork":
		r.processes = append(r.processes, c.Op.Name)
		slices.Sort(r.processes)
	case c.Op.Verb == "exit":
		r.processes = slices.DeleteFunc(r.processes, func(s string) bool { return s == c.Process })
	}
	return litmus.Outcome{Faults: r.step.Faults, Errno: r.step.Fails, Taken: out.Taken}
}

// Start passes on the beginning of an operation. A target that cannot stop in the middle cannot run the program.
func (r *recorder) Start(c *litmus.Call, until string) (bool, litmus.Outcome, error) {
	stopped, out, err := r.Target.Start(c, until)
	if err != nil && r.record.NotHere == "" {
		r.record.NotHere = err.Error()
	}
	return stopped, out, err
}

// region notes where a region is, and its largest size.
func (r *recorder) region(name string, s litmus.Span) {
	old, known := r.spans[name]
	if !known {
		r.regions = append(r.regions, name)
	}
	s.Pages = max(s.Pages, old.Pages)
	r.spans[name] = s
}

func (r *recorder) after(s *litmus.Step) {
	if r.err != nil {
		return
	}
	step := Step{Line: s, Did: r.did, Outcome: r.outcome}
	if r.did {
		step.Entries, r.err = r.snapshot()
	}
	r.record.Steps = append(r.record.Steps, step)
}

// snapshot reads the entries of all regions of all processes.
func (r *recorder) snapshot() ([]Row, error) {
	read := r.Target.Entry
	if fast, ok := r.Target.(reader); ok {
		read = fast.Raw
	}
	var rows []Row
	for _, process := range r.processes {
		for _, region := range r.regions {
			s := r.spans[region]
			row := Row{Process: process, Region: region, Start: s.VA, Entries: make([]Leaf, s.Pages)}
			for i := range row.Entries {
				e, err := read(process, s.VA+x86.Virt(i)*x86.PageSize)
				if err != nil {
					return nil, err
				}
				row.Entries[i] = Leaf{e.Raw, e.Level}
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}
