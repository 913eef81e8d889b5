//go:build linux && amd64

package host

import (
	"errors"
	"fmt"
	"slices"

	"ptemu/arch/x86"
	"ptemu/conformance/vm"
	"ptemu/litmus"
	"ptemu/mm"
	"ptemu/pgtable"
	"ptemu/swapentry"
)

// Page is what a kernel tells of a page.
type Page struct {
	Word swapentry.Pagemap
	Scan mm.Category // of PAGEMAP_SCAN
}

// row is all pages of a region of a process.
type row struct {
	process, region string
	pages           []Page
}

// step is what came of an operation.
type step struct {
	line    *litmus.Step
	outcome litmus.Outcome
	hangs   bool // the call does not return; nothing comes after it
	rows    []row
}

// record is what a program did on a target.
type record struct {
	notHere string
	steps   []step
}

// viewer is a target that tells of pages, and of those categories that all has.
type viewer interface {
	litmus.Target
	View(process string, at litmus.Span, pages []Page, all mm.Category) error
}

// emulator is the emulator as a viewer. Its processors forget all translations between steps: the real one runs other
// processes meanwhile, and what a stale translation does is for programs that run on the emulator alone.
type emulator struct{ *litmus.Emulator }

func (e emulator) Do(c *litmus.Call) litmus.Outcome {
	out := e.Emulator.Do(c)
	m := e.Machine()
	for _, s := range m.Spaces() {
		m.FlushTLB(s.Tree(), pgtable.Flush{All: true})
	}
	return out
}

// View implements viewer.
func (e emulator) View(process string, at litmus.Span, pages []Page, all mm.Category) error {
	s := e.Process(process)
	if s == nil {
		return fmt.Errorf("there is no process %s any more", process)
	}
	for i, w := range s.Pagemap(at.VA, at.Pages) {
		pages[i] = Page{Word: w}
	}
	if all == 0 {
		return nil
	}
	end := at.VA + x86.Virt(at.Bytes())
	r, err := s.PagemapScan(e.Machine().CPU(0), mm.ScanArgs{Start: at.VA, End: end, Regions: at.Pages, Return: all})
	for _, found := range r.Regions {
		for va := found.Start; va < found.End; va += x86.PageSize {
			pages[(va-at.VA)/x86.PageSize].Scan = found.Categories
		}
	}
	return err
}

// recorder is a target that records what is done to another. Whatever comes of an operation, the program goes on.
type recorder struct {
	viewer
	all       mm.Category
	out       record
	processes []string
	regions   []string
	spans     map[string]litmus.Span
	line      *litmus.Step
	hangs     bool
	err       error
}

// run runs operations (see operations) on a fresh target and closes it. all is what PAGEMAP_SCAN is asked for.
func run(p *litmus.Program, t viewer, kernel string, all mm.Category) (*record, error) {
	r := &recorder{viewer: t, all: all, processes: []string{litmus.DefaultProcess}, spans: map[string]litmus.Span{}}
	result := litmus.Run(p, r, kernel, "", litmus.Observer{Before: func(s *litmus.Step) { r.line = s }})
	closed := t.Close()
	switch {
	case result.Verdict == litmus.NotHere:
		r.out.notHere = result.Reason
	case r.err == nil && result.Verdict == litmus.Fail && !r.hangs:
		r.err = &result.Failures[0]
	}
	if r.err == nil {
		r.err = closed
	}
	return &r.out, r.err
}

// Do passes an operation on, records what came of it, and tells the runner that it ended well.
func (r *recorder) Do(c *litmus.Call) litmus.Outcome {
	switch c.Op.Verb {
	case "map":
		r.region(c.Op.Name, litmus.Span{VA: c.New, Pages: c.Op.Count})
	case "remap":
		r.region(c.Op.Name, litmus.Span{VA: c.New, Pages: int(c.Op.Num("pages", uint64(c.At.Pages)))})
	}
	out := r.viewer.Do(c)
	if out.Errno == mm.ErrRestart.Error() || errors.Is(out.Err, vm.ErrStuck) {
		r.out.steps = append(r.out.steps, step{line: r.line, hangs: true})
		r.hangs = true
		return out
	}
	if out.Err != nil {
		r.err = fmt.Errorf("%v: %s: %w", r.line.Pos, r.line, out.Err)
		return out
	}
	ended := out.Faults == "killed" || c.Op.Verb == "exit" && out.Errno == ""
	switch {
	case ended:
		r.processes = slices.DeleteFunc(r.processes, func(s string) bool { return s == c.Process })
	case c.Op.Verb == "fork" && out.Errno == "":
		r.processes = append(r.processes, c.Op.Name)
	}
	s := step{line: r.line, outcome: out}
	if s.rows, r.err = r.view(); r.err != nil {
		r.err = fmt.Errorf("%v: %s: %w", r.line.Pos, r.line, r.err)
	}
	r.out.steps = append(r.out.steps, s)
	return litmus.Outcome{Err: r.err}
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

// view looks at all regions of all processes.
func (r *recorder) view() (rows []row, err error) {
	for _, process := range r.processes {
		for _, region := range r.regions {
			at := r.spans[region]
			w := row{process, region, make([]Page, at.Pages)}
			if err := r.View(process, at, w.pages, r.all); err != nil {
				return nil, err
			}
			rows = append(rows, w)
		}
	}
	return rows, nil
}

// operations returns the program with only what is done on a kernel, all of which may end as it likes.
func operations(p *litmus.Program, kernel string) *litmus.Program {
	q := *p
	q.Steps, q.Policies = nil, nil
	for i, counts := range p.Applies(kernel, "") {
		s := p.Steps[i]
		switch s.Op.Verb {
		case "expect", "remember", "continue", "finish":
			continue
		}
		if counts {
			q.Steps = append(q.Steps, litmus.Step{Pos: s.Pos, CPU: s.CPU, Process: s.Process, Op: s.Op})
		}
	}
	return &q
}
