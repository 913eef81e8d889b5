package session

import (
	"context"
	"errors"
	"fmt"

	"ptemu/arch/x86"
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
	tables := o.tablesOnly()
	opt.RootsOnly = opt.RootsOnly || tables
	procs, err := proc.Find(ctx, o.Mem, o.System, opt)
	switch {
	case tables && err != nil && ctx.Err() == nil:
		err = fmt.Errorf("%s: %w", tablesOnlyText, err)
	case tables && err == nil:
		procs.Warnings = append([]string{tablesOnlyText}, procs.Warnings...)
	}
	return procs, err
}

// tablesOnlyText is what is said of a capture without the kernel's memory.
const tablesOnlyText = "the capture holds no memory of the kernel but page tables: of processes, the root tables alone are known"

// tablesOnly reports that the capture lacks the kernel image, so that nothing can be known of its symbols and lists.
func (o *Session) tablesOnly() bool {
	l := o.System.Layout
	mem, err := o.System.Memory(o.Mem)
	if err != nil || l.TextFirst == 0 {
		return false
	}
	at := []x86.Virt{l.TextFirst}
	for _, name := range []string{"_stext", "kallsyms_num_syms", "kallsyms_names"} {
		if va, ok := o.System.VMCoreInfo.Symbol(name); ok {
			at = append(at, va)
		}
	}
	for _, va := range at {
		var b [1]byte
		if err := mem.ReadAt(b[:], va); !errors.Is(err, physmem.ErrAbsent) && !errors.Is(err, physmem.ErrExcluded) {
			return false
		}
	}
	return true
}

// OpenForProcesses is [Open] for commands that look for the roots of processes, and need none that the capture
// names.
func OpenForProcesses(ctx context.Context, path string, m *Options) (*Session, error) {
	o, err := Open(ctx, path, m)
	if o != nil && m.CR3 == nil && m.Root == RootNames[0] {
		err = nil
	}
	if o != nil {
		o.NoUser = ""
	}
	return o, err
}
