package session

import (
	"context"

	"ptemu/internal/ptdump/space"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
)

// ProcessFinder is [proc.Find], or what a test puts in its place.
type ProcessFinder func(context.Context, physmem.Reader, *linux.System, proc.Options) (*proc.Processes, error)

// Processes finds the processes of the capture.
func (o *Session) Processes(ctx context.Context, opt proc.Options) (*space.Machine, error) {
	procs, err := o.findProcesses(ctx, opt)
	if err != nil {
		return nil, err
	}
	return space.New(o.Tree, procs), nil
}

// findProcesses takes the processes from the note of a capture that has one, else from the kernel's memory.
func (o *Session) findProcesses(ctx context.Context, opt proc.Options) (*proc.Processes, error) {
	opt.CPUs = linuxCPUs(o.Capture)
	switch {
	case o.kept != nil && o.kept.Processes != nil && !opt.RootsOnly:
		return o.kept.Processes, nil
	case o.find != nil:
		return o.find(ctx, o.Mem, o.System, opt)
	}
	return proc.Find(ctx, o.Mem, o.System, opt)
}

// OpenForProcesses is [Open] for commands that look for the roots of processes, and need none that the capture
// names.
func OpenForProcesses(ctx context.Context, path string, m *Options) (*Session, error) {
	o, err := Open(ctx, path, m)
	if o != nil && m.CR3 == nil && m.Root == RootNames[0] {
		err = nil
	}
	return o, err
}
