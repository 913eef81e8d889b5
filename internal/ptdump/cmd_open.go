package ptdump

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/capture"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// opened is a session, and how it came to be.
type opened struct {
	*Session
	// CPU is the processor whose registers apply, -1 if the capture describes none that can be used.
	CPU int
	// RootWhy says how the root was chosen.
	RootWhy string

	find processFinder // nil: that of package proc
	kept *keptFacts    // what extract left in the capture, nil if it is not from there
}

// openSession opens a capture and finds the kernel and the root table in it, as far as m does not say. If the only
// thing missing is a root, both a session, whose Root does not hold, and an error are returned.
func openSession(ctx context.Context, path string, m *machine) (*opened, error) {
	c, err := capture.Open(path, m.open)
	if err != nil {
		return nil, err
	}
	c.Mem = &cancelReader{c.Mem, ctx}
	o, err := newOpened(c, m)
	if o != nil && m.pid != nil {
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

func newOpened(c *capture.Capture, m *machine) (*opened, error) {
	if m.cpu >= 0 && m.cpu >= len(c.CPUs) {
		return nil, usagef("--cpu %d: the capture describes %s, counted from 0", m.cpu, plural(len(c.CPUs), "CPU"))
	}
	k, err := keptIn(c)
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
		return nil, &usageError{err: err}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.Path, err)
	}
	if k != nil {
		sys.Facts = append(sys.Facts, linux.Finding{What: "extract", Value: "the page tables of another capture: " + k.From, Why: "note " + keptName})
	}
	o := &opened{CPU: usableCPU(sys, m.cpu), find: m.find, kept: k}
	o.Session = &Session{Mem: c.Mem, ABI: sys.ABI, Layout: swapentry.NewLayout(sys.ABI), Capture: c, System: sys}
	root, why, err := chooseRoot(sys, m, o.CPU)
	if err != nil {
		return o, fmt.Errorf("%s: %w", c.Path, err)
	}
	o.Root, o.RootWhy = sys.ABI.TableFrame(uint64(root)).Phys(), why
	return o, nil
}

// chooseProcess makes the tables of one process the session's.
func (o *opened) chooseProcess(ctx context.Context, m *machine) error {
	spaces, err := o.processes(ctx, proc.Options{})
	if err != nil {
		return fmt.Errorf("%s: --pid %d: %w", o.Capture.Path, *m.pid, err)
	}
	o.System.Warnings = append(o.System.Warnings, spaces.Procs.Warnings...)
	p, s, err := spaces.find(*m.pid)
	switch {
	case err != nil && len(spaces.Procs.Warnings) > 0:
		return fmt.Errorf("%s: %w, as far as they could be found: %s", o.Capture.Path, err, spaces.Procs.Warnings[0])
	case err != nil:
		return fmt.Errorf("%s: %w", o.Capture.Path, err)
	case s == nil:
		return fmt.Errorf("%s: %w", o.Capture.Path, noSpace(p))
	}
	why := fmt.Sprintf("that of process %d (%s), as asked (--pid)", p.PID, quoteName(p.Comm))
	roots := s.MM.Roots
	o.Root, o.RootWhy = roots.Kernel, why
	switch m.root {
	case "pti-kernel", "pti-user":
		if !roots.PTI {
			return fmt.Errorf("%s: --root %s: process %d has one root only", o.Capture.Path, m.root, p.PID)
		}
		if m.root == "pti-user" {
			o.Root, o.RootWhy = roots.User, "user root of the pair, "+why
		}
	}
	return nil
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

func linuxOptions(m *machine) linux.Options {
	opts := linux.Options{
		DevicePrivate: m.devicePrivate, CR3: m.cr3, Levels: m.levels, PhysBits: m.physBits, EncMask: m.encMask,
		L1TFCacheBits: m.l1tf,
	}
	if m.kernel != nil {
		opts.Kernel = m.kernel.Release
	}
	return opts
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

// usableCPU returns the processor asked for, or the first one with page tables; -1 if there is none.
func usableCPU(sys *linux.System, asked int) int {
	if asked >= 0 {
		return asked
	}
	for _, c := range sys.CPUs {
		if c.Err == nil {
			return c.CPU
		}
	}
	return -1
}

// chooseRoot returns the root table that the flags ask for, and why it is this one.
func chooseRoot(sys *linux.System, m *machine, cpu int) (x86.Phys, string, error) {
	if m.root == "swapper" {
		if sys.InitMM == nil {
			return 0, "", fmt.Errorf("--root swapper: init_mm's tables were not found: %w", linux.ErrNoRoot)
		}
		return sys.InitMM.Kernel, "init_mm's, as asked (--root swapper)", nil
	}
	var roots linux.Roots
	var own x86.Phys
	var why string
	switch {
	case sys.Chosen != nil:
		roots, own, why = *sys.Chosen, sys.ABI.TableFrame(*m.cr3).Phys(), "as asked (--cr3)"
	case cpu >= 0:
		c := sys.CPUs[cpu]
		if c.Err != nil {
			return 0, "", c.Err
		}
		roots, own, why = c.Roots, sys.ABI.TableFrame(c.CR3).Phys(), fmt.Sprintf("CR3 %#x of CPU %d", c.CR3, cpu)
	case sys.InitMM != nil:
		roots, own, why = *sys.InitMM, sys.InitMM.Kernel, "init_mm's, as the capture names no other"
	default:
		for _, c := range sys.CPUs {
			if c.Err != nil {
				return 0, "", c.Err
			}
		}
		return 0, "", linux.ErrNoRoot
	}
	switch m.root {
	case "pti-kernel", "pti-user":
		if !roots.PTI {
			return 0, "", fmt.Errorf("--root %s: the root table at %v is not one of a pair: %s", m.root, own, roots.Why)
		}
		if m.root == "pti-user" {
			return roots.User, "user root of the pair of " + why, nil
		}
		if roots.KernelMissing {
			return 0, "", fmt.Errorf("--root pti-kernel: the kernel's root is not in the capture: %s", roots.Why)
		}
		return roots.Kernel, "kernel root of the pair of " + why, nil
	}
	return own, why, nil
}

// registers returns the registers that the hardware walk uses, and what had to be assumed of them.
func (o *opened) registers() (mmu.Regs, []string) {
	paging := o.ABI.Paging()
	regs := mmu.LinuxRegs(uint64(o.Root), paging.Levels)
	var assumed []string
	if o.CPU < 0 {
		assumed = append(assumed, "CR0.WP set, CR4.SMEP, SMAP, PKE and PKS clear: the capture has no control registers")
	} else {
		c := o.Capture.CPUs[o.CPU]
		regs.CR0, regs.CR4 = c.CR0, c.CR4
		if c.HasEFER {
			regs.EFER = c.EFER
		}
	}
	if o.CPU < 0 || !o.Capture.CPUs[o.CPU].HasEFER {
		state := "set"
		if !paging.NX {
			state = "clear"
		}
		assumed = append(assumed, "EFER.NXE "+state+": the capture has no EFER")
	}
	return regs.WithPaging(paging), assumed
}

// hintFor tells what to do about an error, "" if nothing but the error can be said.
func hintFor(err error, cmd *cobra.Command) string {
	switch {
	case errors.Is(err, capture.ErrTruncated):
		return "The file seems to be cut off: compare its size with the original."
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return "It was compressed with a window of more than 128 MiB: unpack it first, as with zstd -d --long=31."
	case unpacksTooFar(err):
		return "If the capture may be that large, say --max-unpack-ratio N, or -1 for any; or unpack it first."
	case errors.Is(err, fs.ErrNotExist) && !cmd.HasParent():
		if known := cmd.SuggestionsFor(cmd.Flags().Arg(0)); len(known) > 0 {
			return fmt.Sprintf("Did you mean the command %s?", known[0])
		}
	}
	return ""
}

// unpacksTooFar reports that unpacking stopped at the ratio that --max-unpack-ratio sets.
func unpacksTooFar(err error) bool {
	var at *capture.FormatError
	return errors.As(err, &at) && strings.HasPrefix(at.Format, "unpacked ") && strings.Contains(at.Err.Error(), "times its size")
}

// plural counts things whose plural takes an s.
func plural(n int, what string) string { return countOf(n, what, what+"s") }

func countOf(n int, one, more string) string {
	switch n {
	case 0:
		return "no " + more
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
