package who

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptdump/space"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// treePart is a part of an address space that is walked in one go.
type treePart struct {
	*space.Space
	r pgtable.Range
	// what says which tables these are, where that is not clear: "" for the user half of a process.
	what string
}

// Parts of the kernel half.
const (
	partKernel    = "kernel"
	partKernelPTI = "kernel, PTI user tables"
	partOwn       = "kernel half of the process" // the LDT, with PTI
)

// partsOf returns all that a capture maps, each tree once: the kernel's half, unless only users are asked for, and the
// user half of every process.
func partsOf(m *space.Machine, userOnly bool) []treePart {
	var all []treePart
	if k := m.Kernel; k != nil && !userOnly {
		half := pgtable.Range{First: k.ABI.Paging().KernelHalf(), Last: ^x86.Virt(0)}
		all = append(all, treePart{k, half, partKernel})
		if roots := k.System.InitMM; roots != nil && roots.PTI && !roots.KernelMissing {
			all = append(all, treePart{&space.Space{Tree: k.At(roots.User)}, half, partKernelPTI})
		}
	}
	for _, s := range m.User {
		f := s.UserHalf()
		all = append(all, treePart{s, f.Bounds(), ""})
		if m.Kernel == nil || userOnly {
			continue
		}
		for _, r := range ownKernel(s, m.Kernel) {
			all = append(all, treePart{s, r, partOwn})
		}
	}
	return all
}

// ownKernel returns the parts of the kernel half that are not those of init_mm: with PTI, a process has its LDT there.
func ownKernel(s, kernel *space.Space) []pgtable.Range {
	var own, all physmem.Table
	if physmem.ReadTable(s.Mem, s.Root.PFN(), &own) != nil || physmem.ReadTable(s.Mem, kernel.Root.PFN(), &all) != nil {
		return nil // which the walk of these roots says
	}
	var ranges []pgtable.Range
	level := s.ABI.Paging().Root()
	for i := x86.EntriesPerTable / 2; i < x86.EntriesPerTable; i++ {
		e, k := own[i], all[i]
		if e&x86.PagePresent == 0 || k&x86.PagePresent != 0 && s.ABI.TableFrame(k) == s.ABI.TableFrame(e) {
			continue
		}
		first := s.ABI.Paging().SignExtend(x86.Virt(uint64(i) << level.Shift()))
		ranges = append(ranges, pgtable.Range{First: first, Last: first + x86.Virt(level.Size()-1)})
	}
	return ranges
}
