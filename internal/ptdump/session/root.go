package session

import (
	"context"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/space"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
)

// chooseProcess makes the tables of one process the session's.
func (o *Session) chooseProcess(ctx context.Context, m *Options) error {
	spaces, err := o.Processes(ctx, proc.Options{})
	if err != nil {
		return fmt.Errorf("%s: --pid: %w", o.Capture.Path, err)
	}
	o.System.Warnings = append(o.System.Warnings, spaces.Procs.Warnings...)
	p, s, err := spaces.Named(*m.Process)
	switch {
	case err != nil && len(spaces.Procs.Warnings) > 0:
		return fmt.Errorf("%s: %w, as far as they could be found: %s", o.Capture.Path, err, spaces.Procs.Warnings[0])
	case err != nil:
		return fmt.Errorf("%s: %w", o.Capture.Path, err)
	case s == nil:
		return fmt.Errorf("%s: %w", o.Capture.Path, space.NoSpace(p))
	}
	o.Process, o.Spaces, o.NoUser = p, spaces, ""
	why := fmt.Sprintf("that of process %d (%s), as asked (--pid)", p.PID, report.QuoteName(p.Comm))
	roots := s.MM.Roots
	o.Root, o.RootWhy = roots.Kernel, why
	switch m.Root {
	case "pti-kernel", "pti-user":
		if !roots.PTI {
			return fmt.Errorf("%s: --root %s: process %d has one root only", o.Capture.Path, m.Root, p.PID)
		}
		if m.Root == "pti-user" {
			o.Root, o.RootWhy = roots.User, "user root of the pair, "+why
		}
	}
	return nil
}

// chooseRoot chooses the root table that the flags ask for, and says why it is this one.
func (o *Session) chooseRoot(m *Options) error {
	sys := o.System
	root, why, err := rootOf(sys, m, o.CPU)
	if err != nil {
		return err
	}
	o.Root, o.RootWhy = sys.ABI.TableFrame(uint64(root)).Phys(), why
	if sys.Chosen == nil && m.Root != "swapper" && !rootHolds(sys, o.CPU) && o.userHalfEmpty() {
		o.NoUser = "the root table is " + why + ", and that maps nothing for programs; ptdump ps looks for those of processes, --pid and --cr3 choose one"
	}
	return nil
}

// rootHolds reports whether the CPU's root can be walked.
func rootHolds(sys *linux.System, cpu int) bool { return cpu >= 0 && sys.CPUs[cpu].Err == nil }

// userHalfEmpty reports whether the root table has nothing in the user half. One that cannot be read may have.
func (o *Session) userHalfEmpty() bool {
	var t physmem.Table
	if physmem.ReadTable(o.Mem, o.Root.PFN(), &t) != nil {
		return false
	}
	for _, e := range t[:x86.EntriesPerTable/2] {
		if e != 0 {
			return false
		}
	}
	return true
}

// rootOf is chooseRoot without a session. cpu is the processor whose registers apply, -1 if there is none.
func rootOf(sys *linux.System, m *Options, cpu int) (x86.Phys, string, error) {
	if m.Root == "swapper" {
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
		roots, own, why = *sys.Chosen, sys.ABI.TableFrame(*m.CR3).Phys(), "as asked (--cr3)"
	case rootHolds(sys, cpu):
		c := sys.CPUs[cpu]
		roots, own, why = c.Roots, sys.ABI.TableFrame(c.CR3).Phys(), fmt.Sprintf("CR3 %#x of CPU %d", c.CR3, cpu)
	case m.CPU >= 0:
		return 0, "", sys.CPUs[m.CPU].Err
	case sys.InitMM != nil:
		roots, own, why = *sys.InitMM, sys.InitMM.Kernel, "init_mm's, as the capture names no other"
		if n := len(sys.CPUs); n > 0 {
			why = fmt.Sprintf("init_mm's, as no CPU's can be used (%v)", sys.CPUs[0].Err)
		}
	default:
		for _, c := range sys.CPUs {
			if c.Err != nil {
				return 0, "", c.Err
			}
		}
		return 0, "", linux.ErrNoRoot
	}
	if roots.UserMissing {
		own, why = roots.Kernel, "kernel root of the pair of "+why+", whose user root is not in the capture"
	}
	switch m.Root {
	case "pti-kernel", "pti-user":
		switch {
		case roots.UserMissing && m.Root == "pti-kernel":
			return own, why, nil
		case roots.UserMissing:
			return 0, "", fmt.Errorf("--root pti-user: the user root is not in the capture: %s", roots.Why)
		case !roots.PTI:
			return 0, "", fmt.Errorf("--root %s: the root table at %v is not one of a pair: %s", m.Root, own, roots.Why)
		case m.Root == "pti-user":
			return roots.User, "user root of the pair of " + why, nil
		case roots.KernelMissing:
			return 0, "", fmt.Errorf("--root pti-kernel: the kernel's root is not in the capture: %s", roots.Why)
		}
		return roots.Kernel, "kernel root of the pair of " + why, nil
	}
	return own, why, nil
}

// Registers returns the registers that the hardware walk uses, and what had to be assumed of them.
func (o *Session) Registers() (mmu.Regs, []string) {
	paging := o.ABI.Paging()
	regs := mmu.LinuxRegs(uint64(o.Root), paging.Levels)
	var assumed []string
	if o.CPU < 0 {
		assumed = append(assumed, "CR0.WP set, CR4.SMEP, SMAP, PKE and PKS clear: the capture has no control registers of a CPU with page tables")
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
