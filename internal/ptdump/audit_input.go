package ptdump

import (
	"context"
	"fmt"
	"slices"

	"ptemu/linux"
	"ptemu/linux/proc"
)

// auditInput gathers what is to be audited: all processes of m, or, if there are none and why says why, the trees that
// processors run on. pid limits it to one process, if it is not nil.
func (o *opened) auditInput(m *machineSpaces, why string, pid *int) (*auditInput, error) {
	in := &auditInput{Session: o.Session, Markers: o.System.Markers(), Why: why}
	if r := o.kernelRoots(); r != nil {
		in.Kernel = &auditSpace{space: &space{Session: o.at(r.Kernel)}, name: "kernel", roots: *r}
	}
	for i, c := range o.System.CPUs {
		if c.Err == nil && o.Capture != nil && i < len(o.Capture.CPUs) {
			n := o.Capture.CPUs[i]
			in.CPUs = append(in.CPUs, auditCPU{CPU: c.CPU, CR0: n.CR0, CR4: n.CR4, EFER: n.EFER, HasEFER: n.HasEFER})
		}
	}
	if m == nil {
		in.cpuRoots(o)
		return in, nil
	}
	for _, s := range m.User {
		if pid != nil && !slices.ContainsFunc(s.Procs, func(p *proc.Process) bool { return p.PID == *pid }) {
			continue
		}
		a := &auditSpace{space: s, num: len(in.User) + 1, roots: s.MM.Roots}
		var tracks bool
		a.areas, tracks = makeAreas(m.Procs, s.MM.Areas, o.ABI.Paging().ShadowStack)
		a.complete = s.MM.AreasErr == "" && s.MM.Addr != 0 && m.Procs.Flag("rd") != 0
		in.Tracks = in.Tracks || tracks
		in.User = append(in.User, a)
	}
	if pid != nil && len(in.User) == 0 {
		_, _, err := m.find(*pid)
		if err == nil {
			err = fmt.Errorf("process %d has no address space", *pid)
		}
		return nil, err
	}
	return in, nil
}

// kernelRoots are init_mm's, or those of a processor, which have the same kernel half; nil if there are none.
func (o *opened) kernelRoots() *linux.Roots {
	if r := o.System.InitMM; r != nil {
		return r
	}
	for i := range o.System.CPUs {
		if c := &o.System.CPUs[i]; c.Err == nil && !c.KernelMissing {
			return &c.Roots
		}
	}
	return nil
}

// cpuRoots takes the trees of the processors, or the one that the flags name, for want of processes.
func (in *auditInput) cpuRoots(o *opened) {
	add := func(name string, r linux.Roots) {
		known := func(s *auditSpace) bool { return s != nil && s.roots.Kernel == r.Kernel }
		if slices.ContainsFunc(in.User, known) || o.System.InitMM != nil && known(in.Kernel) {
			return
		}
		in.User = append(in.User, &auditSpace{space: &space{Session: o.at(r.Kernel)}, num: len(in.User) + 1, name: name, roots: r})
	}
	if r := o.System.Chosen; r != nil {
		add("root "+r.Kernel.String(), *r)
		return
	}
	for _, c := range o.System.CPUs {
		if c.Err == nil {
			add(fmt.Sprintf("the process on CPU %d", c.CPU), c.Roots)
		}
	}
}

// who names an address space for people.
func (s *auditSpace) who() string {
	if s.space == nil || len(s.Procs) == 0 {
		return s.name
	}
	p := s.Procs[0]
	text := fmt.Sprintf("process %d (%s)", p.PID, quoteName(p.Comm))
	if p.PID < 0 {
		text = fmt.Sprintf("root %v", s.roots.Kernel)
	}
	if n := len(s.Procs) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// pids are the processes on an address space.
func (s *auditSpace) pids() []int {
	var pids []int
	if s.space != nil {
		for _, p := range s.Procs {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// auditWith runs an audit with the command's flags.
func (o *options) auditWith(ctx context.Context, in *auditInput, opt auditOptions) (*auditReport, error) {
	opt.Err = ctx.Err
	opt.Each = func(what string, n int, do func(i int) error) error {
		bar := startProgress(o.stderr, what, n)
		defer bar.stop()
		return each(ctx, o.jobs, n, func(i int) error {
			defer bar.one()
			return do(i)
		})
	}
	return in.audit(opt)
}
