package ptdump

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
)

// space is one address space of the capture: a root table, and who runs on it.
type space struct {
	*Session // with Root that of the space; with PTI the kernel's, whose user half is the same
	// MM is nil for the kernel's own (init_mm) and where only the root is known.
	MM *proc.MM
	// Procs are the processes that run on it, ascending by PID; none for the kernel.
	Procs []*proc.Process
}

// machineSpaces is what a capture holds: the kernel's space and those of all processes.
type machineSpaces struct {
	Procs  *proc.Processes
	Kernel *space   // its half of the address space: from init_mm's root, else from another's; nil if there is none
	User   []*space // ascending by the first PID
}

// processFinder is [proc.Find], or what a test puts in its place.
type processFinder func(context.Context, physmem.Reader, *linux.System, proc.Options) (*proc.Processes, error)

// processes finds the processes of the capture.
func (o *opened) processes(ctx context.Context, opt proc.Options) (*machineSpaces, error) {
	procs, err := o.findProcesses(ctx, opt)
	if err != nil {
		return nil, err
	}
	m := &machineSpaces{Procs: procs}
	if r := o.System.InitMM; r != nil {
		m.Kernel = &space{Session: o.at(r.Kernel)}
	} else if r, err := o.System.Root(-1); err == nil {
		m.Kernel = &space{Session: o.at(r.Kernel)} // its kernel half is the same
	}
	byMM := map[*proc.MM]*space{}
	for _, p := range procs.List {
		if p.MM == nil {
			continue
		}
		s := byMM[p.MM]
		if s == nil {
			s = &space{Session: o.at(p.MM.Roots.Kernel), MM: p.MM}
			byMM[p.MM] = s
			m.User = append(m.User, s)
		}
		s.Procs = append(s.Procs, p)
	}
	return m, nil
}

// findProcesses takes the processes from the note of a capture that has one, else from the kernel's memory.
func (o *opened) findProcesses(ctx context.Context, opt proc.Options) (*proc.Processes, error) {
	opt.CPUs = linuxCPUs(o.Capture)
	switch {
	case o.kept != nil && o.kept.Processes != nil && !opt.RootsOnly:
		return o.kept.Processes, nil
	case o.find != nil:
		return o.find(ctx, o.Mem, o.System, opt)
	}
	return proc.Find(ctx, o.Mem, o.System, opt)
}

// at returns the session with another root.
func (s *Session) at(root x86.Phys) *Session {
	other := *s
	other.Root = root
	return &other
}

// userHalf is the filter of everything that processes map.
func (s *Session) userHalf() Filter {
	return Filter{First: 0, Last: s.ABI.Paging().KernelHalf() - 1}
}

// find returns the process with a PID.
func (m *machineSpaces) find(pid int) (*proc.Process, *space, error) {
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

// noSpace says why a process has no address space.
func noSpace(p *proc.Process) error {
	if p.Kernel {
		return fmt.Errorf("%d (%s) is a kernel thread: it has no tables of its own, --root swapper are the kernel's", p.PID, quoteName(p.Comm))
	}
	return fmt.Errorf("process %d (%s) has no address space any more", p.PID, quoteName(p.Comm))
}

// quoteName returns the name of a process or a file as text that cannot disturb a terminal or a table.
func quoteName(s string) string {
	if strings.TrimSpace(s) != s || disturbs(s) {
		return strconv.Quote(s)
	}
	return s
}

// disturbs reports whether a text has what a terminal obeys in place of showing it.
func disturbs(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) })
}

// printable returns a sentence that may hold words of the capture, with what cannot be seen as escapes. Lines stay lines.
func printable(s string) string {
	if !disturbs(s) {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if disturbs(line) {
			lines[i] = visible(line)
		}
	}
	return strings.Join(lines, "\n")
}

// each runs do for the numbers below n, on as many goroutines as jobs says (0: as many as there are processors), and
// returns the first error by number. After an error or the end of ctx no more are begun.
func each(ctx context.Context, jobs, n int, do func(i int) error) error {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	var (
		next   atomic.Int64
		failed atomic.Bool
		wait   sync.WaitGroup
		errs   = make([]error, n)
	)
	for range min(jobs, n) {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || failed.Load() || ctx.Err() != nil {
					return
				}
				if errs[i] = do(i); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return errors.Join(ctx.Err())
}

// rootProblem makes an error of a walk, which says that the root could not be read, a problem of the space like those of
// other tables. Interruptions stay errors.
func (s *space) rootProblem(ctx context.Context, err error, to *[]Problem) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	*to = append(*to, Problem{Size: uint64(s.userHalf().Last) + 1, Level: s.ABI.Paging().Root(), Entry: s.Root, Err: err})
	return nil
}

// openForProcesses is [openSession] for commands that look for the roots of processes, and need none that the capture
// names.
func openForProcesses(ctx context.Context, path string, m *machine) (*opened, error) {
	o, err := openSession(ctx, path, m)
	if o != nil && m.cr3 == nil && m.root == rootNames[0] {
		err = nil
	}
	return o, err
}

// runSpaces is run for commands that look at processes.
func (o *options) runSpaces(cmd *cobra.Command, path string, do func(*work, *machineSpaces) error) error {
	return o.runOn(cmd, path, openForProcesses, func(w *work) error {
		w.tally.emptyRoot = false
		bar := startProgress(o.stderr, "looking for processes", 0)
		spaces, err := w.processes(cmd.Context(), proc.Options{Progress: bar.set})
		bar.stop()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		warnAll(o.stderr, spaces.Procs.Warnings)
		return do(w, spaces)
	})
}

// eachSpace runs do for every space with a bar of progress; see [each].
func (o *options) eachSpace(ctx context.Context, what string, spaces []*space, do func(i int, s *space) error) error {
	bar := startProgress(o.stderr, what, len(spaces))
	defer bar.stop()
	return each(ctx, o.jobs, len(spaces), func(i int) error {
		defer bar.one()
		return do(i, spaces[i])
	})
}
