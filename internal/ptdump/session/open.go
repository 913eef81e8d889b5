package session

import (
	"context"
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/internal/ptdump/kept"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/usage"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// Session is an opened capture with the tree that was chosen in it, and how that came to be. It must be closed.
type Session struct {
	*tree.Tree
	// CPU is the processor whose registers apply, -1 if the capture describes none that can be used.
	CPU int
	// RootWhy says how the root was chosen.
	RootWhy string
	// NoUser says why the tree has no user half, "" if it has or if it is what was asked for: a root table with one is in
	// use, but the capture does not name it or lacks it.
	NoUser string
	// Process and Spaces are whose tables were asked for, and all of them; nil without [Options.Process].
	Process *proc.Process
	Spaces  *space.Machine

	find ProcessFinder // nil: that of package proc
	kept *kept.Facts   // what extract left in the capture, nil if it is not from there
}

// Open opens a capture and finds the kernel and the root table in it, as far as m does not say. If the only thing missing
// is a root that can be read, both a session, whose Root does not hold, and an error are returned. Flags that cannot be are a [usage.Error].
func Open(ctx context.Context, path string, m *Options) (*Session, error) {
	if path == "-" {
		return nil, usage.Errorf("-: a capture is read here and there, which a pipe does not allow: give a file (or ./- for one of that name)")
	}
	c, err := capture.Open(path, m.Capture)
	if err != nil {
		return nil, err
	}
	c.Mem = &cancelReader{c.Mem, ctx}
	o, err := newSession(c, m)
	if o != nil && m.Process != nil {
		err = o.chooseProcess(ctx, m)
	}
	if interrupted := ctx.Err(); interrupted != nil {
		o, err = nil, interrupted // whatever was found is not all
	}
	if o == nil {
		c.Close()
	}
	return o, err
}

func newSession(c *capture.Capture, m *Options) (*Session, error) {
	if m.CPU >= 0 && m.CPU >= len(c.CPUs) {
		return nil, usage.Errorf("--cpu %d: the capture describes %s, counted from 0", m.CPU, report.Plural(len(c.CPUs), "CPU"))
	}
	k, err := kept.In(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	opts := linuxOptions(m)
	if k != nil {
		opts.Known = k.Kernel
	}
	sys, err := linux.Detect(c.Mem, c.VMCoreInfo, linuxCPUs(c), opts)
	switch {
	case errors.Is(err, linux.ErrOptions):
		return nil, &usage.Error{Err: err}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	if k != nil {
		sys.Facts = append(sys.Facts, linux.Finding{What: "extract", Value: "the page tables of another capture: " + k.From, Why: "note " + kept.NoteName})
	}
	o := &Session{CPU: usableCPU(sys, m.CPU), find: m.Find, kept: k}
	o.Tree = &tree.Tree{Mem: c.Mem, ABI: sys.ABI, Layout: swapentry.NewLayout(sys.ABI), Capture: c, System: sys}
	if err := o.chooseRoot(m); err != nil {
		return o, fmt.Errorf("%s: %w", c.Path, err)
	}
	return o, nil
}

// cancelReader is memory that cannot be read any more once the command is interrupted: every walk ends soon then.
type cancelReader struct {
	physmem.Reader
	ctx context.Context
}

// ReadFrame implements physmem.Reader.
func (c *cancelReader) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	return c.Reader.ReadFrame(pfn, dst)
}

func linuxOptions(m *Options) linux.Options {
	return linux.Options{
		Kernel: m.Kernel, DevicePrivate: m.DevicePrivate, CR3: m.CR3, Levels: m.Levels, PhysBits: m.PhysBits, EncMask: m.EncMask,
		L1TFCacheBits: m.L1TF,
	}
}

func linuxCPUs(c *capture.Capture) []linux.CPU {
	var cpus []linux.CPU
	for _, n := range c.CPUs {
		cpu := linux.CPU{CR0: n.CR0, CR3: n.CR3, CR4: n.CR4, EFER: n.EFER, HasEFER: n.HasEFER, GSBase: x86.Virt(n.GSBase)}
		if n.HasKernelGSBase {
			cpu.KernelGSBase = x86.Virt(n.KernelGSBase)
		}
		cpus = append(cpus, cpu)
	}
	return cpus
}

// usableCPU returns the processor asked for, or the first one with page tables, or the first that uses such tables,
// wherever they are; -1 if there is none.
func usableCPU(sys *linux.System, asked int) int {
	if asked >= 0 {
		return asked
	}
	without := -1
	for _, c := range sys.CPUs {
		switch {
		case c.Err == nil:
			return c.CPU
		case c.Paging && without < 0:
			without = c.CPU
		}
	}
	return without
}
