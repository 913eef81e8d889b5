package audit

import (
	"fmt"
	"slices"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
	"ptemu/linux/proc"
)

// NewInput gathers what is to be audited: all processes of m, or, if there are none and why says why, the trees that
// processors run on. pid limits it to one process, if it is not nil.
func NewInput(o *tree.Tree, m *space.Machine, why string, pid *int) (*Input, error) {
	in := &Input{Tree: o, Markers: o.System.Markers(), Why: why}
	if r := kernelRoots(o); r != nil {
		in.Kernel = &addressSpace{Space: &space.Space{Tree: o.At(r.Kernel)}, name: "kernel", roots: *r}
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
		a := &addressSpace{Space: s, num: len(in.User) + 1, roots: s.MM.Roots}
		var tracks bool
		a.areas, tracks = makeAreas(m.Procs, s.MM.Areas, o.ABI.Paging().ShadowStack)
		a.complete = s.MM.AreasErr == "" && s.MM.Addr != 0 && m.Procs.Flag("rd") != 0
		in.Tracks = in.Tracks || tracks
		in.User = append(in.User, a)
	}
	if pid != nil && len(in.User) == 0 {
		_, _, err := m.Find(*pid)
		if err == nil {
			err = fmt.Errorf("process %d has no address space", *pid)
		}
		return nil, err
	}
	return in, nil
}

// kernelRoots are init_mm's, or those of a processor, which have the same kernel half; nil if there are none.
func kernelRoots(o *tree.Tree) *linux.Roots {
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
func (in *Input) cpuRoots(o *tree.Tree) {
	add := func(name string, r linux.Roots) {
		known := func(s *addressSpace) bool { return s != nil && s.roots.Kernel == r.Kernel }
		if slices.ContainsFunc(in.User, known) || o.System.InitMM != nil && known(in.Kernel) {
			return
		}
		in.User = append(in.User, &addressSpace{Space: &space.Space{Tree: o.At(r.Kernel)}, num: len(in.User) + 1, name: name, roots: r})
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
func (s *addressSpace) who() string {
	if s.Space == nil || len(s.Procs) == 0 {
		return s.name
	}
	p := s.Procs[0]
	text := fmt.Sprintf("process %d (%s)", p.PID, report.QuoteName(p.Comm))
	if p.PID < 0 {
		text = fmt.Sprintf("root %v", s.roots.Kernel)
	}
	if n := len(s.Procs) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// pids are the processes on an address space.
func (s *addressSpace) pids() []int {
	var pids []int
	if s.Space != nil {
		for _, p := range s.Procs {
			pids = append(pids, p.PID)
		}
	}
	return pids
}
