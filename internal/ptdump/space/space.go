package space

import (
	"context"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux/proc"
	"ptemu/pgtable"
)

// Space is one address space of the capture: a root table, and who runs on it.
type Space struct {
	*tree.Tree // with Root that of the space; with PTI the kernel's, whose user half is the same
	// MM is nil for the kernel's own (init_mm) and where only the root is known.
	MM *proc.MM
	// Procs are the processes that run on it, ascending by PID; none for the kernel.
	Procs []*proc.Process
}

// Machine is what a capture holds: the kernel's space and those of all processes.
type Machine struct {
	Procs  *proc.Processes
	Kernel *Space   // its half of the address space: from init_mm's root, else from another's; nil if there is none
	User   []*Space // ascending by the first PID
}

// New makes the address spaces of processes that were found. Of machine, the root does not count.
func New(machine *tree.Tree, procs *proc.Processes) *Machine {
	m := &Machine{Procs: procs}
	if r := machine.System.InitMM; r != nil {
		m.Kernel = &Space{Tree: machine.At(r.Kernel)}
	} else if r, err := machine.System.Root(-1); err == nil {
		m.Kernel = &Space{Tree: machine.At(r.Kernel)} // its kernel half is the same
	}
	byMM := map[*proc.MM]*Space{}
	for _, p := range procs.List {
		if p.MM == nil {
			continue
		}
		s := byMM[p.MM]
		if s == nil {
			s = &Space{Tree: machine.At(p.MM.Roots.Kernel), MM: p.MM}
			byMM[p.MM] = s
			m.User = append(m.User, s)
		}
		s.Procs = append(s.Procs, p)
	}
	return m
}

// Find returns the process with a PID, and its address space, which is nil if it has none.
func (m *Machine) Find(pid int) (*proc.Process, *Space, error) {
	for _, s := range m.User {
		for _, p := range s.Procs {
			if p.PID == pid {
				return p, s, nil
			}
		}
	}
	for _, p := range m.Procs.List {
		if p.PID == pid {
			return p, nil, nil
		}
	}
	return nil, nil, fmt.Errorf("the capture has no process %d: ptdump ps lists them", pid)
}

// Runner returns the process that runs on the tables below a root, nil if the capture does not tell.
func (m *Machine) Runner(root x86.Phys) *proc.Process {
	for _, s := range m.User {
		if r := s.MM.Roots; r.Kernel == root || r.User == root {
			return s.Procs[0]
		}
	}
	return nil
}

// NoSpace says why a process has no address space.
func NoSpace(p *proc.Process) error {
	if p.Kernel {
		return fmt.Errorf("%d (%s) is a kernel thread: it has no tables of its own, --root swapper are the kernel's", p.PID, report.QuoteName(p.Comm))
	}
	return fmt.Errorf("process %d (%s) has no address space any more", p.PID, report.QuoteName(p.Comm))
}

// RootProblem makes an error of a walk, which says that the root could not be read, a problem of the space like those of
// other tables. Interruptions stay errors.
func (s *Space) RootProblem(ctx context.Context, err error, to *[]pgtable.Problem) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	*to = append(*to, pgtable.Problem{Size: uint64(s.UserHalf().Last) + 1, Level: s.ABI.Paging().Root(), Entry: s.Root, Err: err})
	return nil
}

// ProcessName is how texts call a process.
func ProcessName(p *proc.Process) string {
	if p.Comm == "" {
		return fmt.Sprintf("process %d", p.PID)
	}
	return fmt.Sprintf("%s (%d)", p.Comm, p.PID)
}
