package litmus

import "strings"

// do runs an operation, or begins it.
func (r *runner) do(s *Step) bool {
	cpu := max(s.CPU, 0)
	if other := r.standing[cpu]; other != nil {
		r.failf(s.Pos, "cpu%d stands in the middle of line %d: continue or finish that", cpu, other.Pos.Line)
		return false
	}
	if !s.Start {
		return r.judge(s, r.t.Do(r.call(s)))
	}
	stopped, out, err := r.t.Start(r.call(s), s.Until)
	if err != nil {
		r.failf(s.Pos, "%v", err)
		return false
	}
	if !stopped {
		r.failf(s.Pos, "it ends without coming to %s%s", s.Until, out.suffix())
		return false
	}
	r.standing[cpu] = s
	return true
}

// goOn goes on with what stands on a processor.
func (r *runner) goOn(s *Step) bool {
	cpu := max(s.CPU, 0)
	begun := r.standing[cpu]
	if begun == nil {
		r.failf(s.Pos, "nothing stands on cpu%d", cpu)
		return false
	}
	stopped, out, err := r.t.Continue(cpu, s.Until)
	switch {
	case err != nil:
		r.failf(s.Pos, "%v", err)
		return false
	case stopped:
		return true
	}
	delete(r.standing, cpu)
	if s.Until != "" {
		r.failf(s.Pos, "it ends without coming to %s%s", s.Until, out.suffix())
		return false
	}
	return r.judge(begun, out)
}

// judge compares what came of an operation with what was to come.
func (r *runner) judge(s *Step, out Outcome) bool {
	switch {
	case out.Err != nil:
		r.failf(s.Pos, "%v", out.Err)
	case out.Faults != s.Faults:
		r.failf(s.Pos, "%s, not %s", accessText(out.Faults), accessText(s.Faults))
	case out.Errno != s.Fails:
		r.failf(s.Pos, "%s, not %s", callText(out.Errno), callText(s.Fails))
	case out.Wrong != "":
		r.failf(s.Pos, "%s", out.Wrong)
		return true
	case s.Taken != Whatever && !r.sees("fault"):
		return true
	case s.Taken == Wanted && out.Taken == 0:
		r.failf(s.Pos, "no page fault is taken")
		return true
	case s.Taken == Unwanted && out.Taken != 0:
		r.failf(s.Pos, "a page fault is taken")
		return true
	default:
		return true
	}
	return false
}

func accessText(fault string) string {
	if fault == "" {
		return "the access succeeds"
	}
	return "the access faults " + fault
}

func callText(errno string) string {
	if errno == "" {
		return "the call succeeds"
	}
	return "the call fails " + errno
}

// suffix says how an operation ended that was to stop somewhere.
func (o Outcome) suffix() string {
	var s []string
	if o.Err != nil {
		s = append(s, o.Err.Error())
	}
	if o.Faults != "" {
		s = append(s, "faults "+o.Faults)
	}
	if o.Errno != "" {
		s = append(s, "fails "+o.Errno)
	}
	if len(s) == 0 {
		return ""
	}
	return ": " + strings.Join(s, ", ")
}
