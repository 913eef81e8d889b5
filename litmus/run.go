package litmus

import (
	"fmt"
	"slices"

	"ptemu/arch/x86"
)

// Verdict is what came of a test.
type Verdict uint8

// The verdicts.
const (
	Pass Verdict = iota
	Fail
	NotHere // the kernel does not have what the test needs
)

func (v Verdict) String() string { return [...]string{"pass", "FAIL", "n/a"}[v] }

// Result is what came of one program on one kernel.
type Result struct {
	Program        *Program
	Kernel, Policy string
	Verdict        Verdict
	Reason         string  // of NotHere
	Failures       []Error // of Fail
	Steps, Checks  int     // lines that counted, and expectations among them
	Unseen         int     // items passed over because the target cannot see them
}

// On names the kernel and policy.
func (r *Result) On() string {
	if r.Policy == "" {
		return r.Kernel
	}
	return r.Policy + "@" + r.Kernel
}

// Observer sees a run. Each may be nil.
type Observer struct {
	Before, After func(s *Step)
}

// Run runs p on t, which is fresh, as a kernel with a historic policy or "". It ends at the first operation that does not
// end as it should; expectations that fail do not end it.
func Run(p *Program, t Target, kernel, policy string, o Observer) Result {
	r := &runner{
		prog: p, t: t, d: newDecoder(t.ABI()), places: p.Places(), size: map[string]int{}, marks: map[string]remembered{},
		standing: map[int]*Step{}, out: Result{Program: p, Kernel: kernel, Policy: policy},
	}
	if !p.Kernels.holds(kernel, policy) {
		r.out.Verdict, r.out.Reason = NotHere, "the test is for "+p.Kernels.String()
		return r.out
	}
	counts := p.Applies(kernel, policy)
	if reason := r.notHere(counts); reason != "" {
		r.out.Verdict, r.out.Reason = NotHere, reason
		return r.out
	}
	for i, counted := range counts {
		if !counted {
			continue
		}
		s := &p.Steps[i]
		if o.Before != nil {
			o.Before(s)
		}
		ok := r.step(s)
		if o.After != nil {
			o.After(s)
		}
		if !ok {
			break
		}
	}
	r.left()
	if len(r.out.Failures) > 0 {
		r.out.Verdict = Fail
	}
	return r.out
}

// runner runs a program.
type runner struct {
	prog     *Program
	t        Target
	d        *decoder
	places   map[string]Span
	size     map[string]int // of regions now, in pages
	marks    map[string]remembered
	standing map[int]*Step // what was started on a processor, and has not ended
	out      Result
}

// span returns the addresses of pages.
func (r *runner) span(p Pages) Span {
	s := r.places[p.Region]
	if n, ok := r.size[p.Region]; ok {
		s.Pages = n
	}
	if p.Whole {
		return s
	}
	return Span{s.VA + x86.Virt(p.First)*x86.PageSize, p.Last - p.First + 1}
}

// notHere returns why the kernel cannot run the steps that count.
func (r *runner) notHere(counts []bool) string {
	part, _ := r.t.(Partial)
	particular, _ := r.t.(Particular)
	if particular != nil && particular.Expects(r.prog) != "" {
		return particular.Expects(r.prog)
	}
	for i, s := range r.prog.Steps {
		if counts[i] && s.Start && part != nil && !part.Sees("point") {
			return "it cannot be stopped at a point"
		}
		if !counts[i] {
			continue
		}
		if s.Fails != "" { // that it fails is the test, unless nobody there can even try
			if particular != nil && particular.Never(&s.Op) != "" {
				return particular.Never(&s.Op)
			}
			continue
		}
		if reason := r.t.NotHere(&s.Op); reason != "" {
			return reason
		}
		for _, it := range s.Items {
			if it.Name == "scan" {
				if reason := r.t.NotHere(&Op{Verb: "scan-protect"}); reason != "" {
					return reason
				}
			}
		}
	}
	return ""
}

// sees reports whether the target can see an item, and counts it if not.
func (r *runner) sees(item string) bool {
	if p, ok := r.t.(Partial); ok && !p.Sees(item) {
		r.out.Unseen++
		return false
	}
	return true
}

func (r *runner) failf(pos Pos, format string, args ...any) {
	r.out.Failures = append(r.out.Failures, Error{pos, fmt.Sprintf(format, args...)})
}

// left says what was started and never ended.
func (r *runner) left() {
	if len(r.out.Failures) > 0 {
		return
	}
	var cpus []int
	for cpu := range r.standing {
		cpus = append(cpus, cpu)
	}
	slices.Sort(cpus)
	for _, cpu := range cpus {
		r.failf(r.standing[cpu].Pos, "nobody finishes this on cpu%d", cpu)
	}
}

// step runs one step, and reports whether the program can go on.
func (r *runner) step(s *Step) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			r.failf(s.Pos, "the emulator panics: %v", v)
			ok = false
		}
	}()
	r.out.Steps++
	if s.expects() {
		r.out.Checks++
	}
	switch s.Op.Verb {
	case "expect":
		r.expect(s)
		return true
	case "remember":
		return r.remember(s)
	case "continue", "finish":
		ok = r.goOn(s)
	default:
		ok = r.do(s)
	}
	if ok && s.Fails == "" {
		r.resize(s)
	}
	if ok && r.out.Policy == "" {
		if err := r.t.Verify(); err != nil {
			r.failf(s.Pos, "after this step: %v", err)
			return false
		}
	}
	return ok
}

// resize notes how large a region is now.
func (r *runner) resize(s *Step) {
	switch s.Op.Verb {
	case "map":
		r.size[s.Op.Name] = s.Op.Count
	case "remap":
		r.size[s.Op.Name] = int(s.Op.Num("pages", uint64(r.span(s.Op.At).Pages)))
	}
}

func (r *runner) call(s *Step) *Call {
	return &Call{CPU: s.CPU, Process: s.Proc(), Op: &s.Op, At: r.span(s.Op.At), To: r.span(s.Op.To), New: r.places[s.Op.Name].VA}
}

// remembered is a mark with its frames.
type remembered struct {
	mark
	frames []x86.PFN
}

// remember keeps the frames of pages.
func (r *runner) remember(s *Step) bool {
	at := r.span(s.Op.At)
	var frames []x86.PFN
	for i := range at.Pages {
		e, err := r.t.Entry(s.Proc(), at.VA+x86.Virt(i)*x86.PageSize)
		if err != nil || e.Page == nil {
			r.failf(s.Pos, "there is no page at %s", pageName(s.Op.At, i))
			return false
		}
		frames = append(frames, e.PFN)
	}
	r.marks[s.Op.Name] = remembered{mark{s.Op.At.Region, s.Op.At.First, at.Pages}, frames}
	return true
}

func pageName(p Pages, i int) string { return fmt.Sprintf("%s %d", p.Region, p.First+i) }
