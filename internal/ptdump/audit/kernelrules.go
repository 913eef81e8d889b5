package audit

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/linux"
)

// lowMemory is the first 1 MiB, from which processors start.
const lowMemory x86.PFN = 1 << 20 >> x86.PageShift

// rights checks what an entry permits.
func (v *kernelAudit) rights(l *tree.Leaf) {
	r := l.Rights
	in := v.imageText(l)
	vsyscall := v.region.Region == linux.RegionVsyscall
	switch {
	case r.U && r.W:
		v.add(ruleKernelUserWritable, l, "programs can write this", "")
	case r.U && !vsyscall:
		v.add(ruleKernelUserAccessible, l, "programs can read this", "")
	}
	switch {
	case r.W && in:
		v.add(ruleKernelTextWritable, l, "kernel text is writable", "")
	case r.W && r.X:
		v.add(ruleKernelWX, l, "writable and executable", "")
	case !r.X, in, vsyscall:
	case v.region.Region == linux.RegionDirectMap:
		why := ""
		if l.PFN+x86.PFN(l.Level.Size()/x86.PageSize) <= lowMemory {
			why = "below 1 MiB: the code that starts processors (set_real_mode_permissions())"
		}
		v.add(ruleDirectMapExecutable, l, "the direct map is executable", why)
	case v.region.Region != linux.RegionModules:
		v.add(ruleKernelDataExecutable, l, "executable, in "+v.region.Name, "")
	}
}

// imageText reports whether an entry belongs to the text of the kernel image: it is executable, and so is all before it
// from the first executable page on. What is writable there instead, and not executable, is text if more follows; behind
// the text it is not.
func (v *kernelAudit) imageText(l *tree.Leaf) bool {
	if v.region.Region != linux.RegionText {
		return false
	}
	switch {
	case v.text == textBefore && l.Rights.X:
		v.text = textIn
	case v.text == textIn && (l.VA != v.behind || !l.Rights.X && !l.Rights.W):
		v.text = textBehind
	}
	v.behind = l.VA + x86.Virt(l.Level.Size())
	switch {
	case v.text != textIn:
		v.pending = nil
		return false
	case !l.Rights.X:
		if len(v.pending) < maxSpaceAll {
			v.pending = append(v.pending, newFinding(ruleKernelTextWritable, v.space, l, "kernel text is writable"))
		}
		return false
	}
	for _, f := range v.pending {
		f.Region = v.region.Name
		v.list.add(f, nil)
	}
	v.pending = nil
	return true
}

// place checks where an entry is, and where it leads.
func (v *kernelAudit) place(l *tree.Leaf) {
	switch v.region.Region {
	case linux.RegionHole:
		if v.holes && !v.pti {
			v.add(ruleKernelHoleMapped, l, "no region of the kernel's is here", "")
		}
	case linux.RegionText, linux.RegionModules, linux.RegionVMemmap, linux.RegionCPUEntry, linux.RegionESPFix, linux.RegionLDT:
		if f, out := v.a.ram.outsideNow(l, v.own, v.a.in.System.Layout); out {
			v.add(ruleKernelFrameOutsideRAM, l, fmt.Sprintf("frame %#x is not RAM", uint64(f)), "")
		}
	}
}

// outsideNow is outsideAny; during the walk of init_mm's kernel half what is behind the direct map can be asked already.
func (m *ramMap) outsideNow(l *tree.Leaf, own bool, layout *linux.Layout) (x86.PFN, bool) {
	if own && (!layout.DirectMap.Found || l.VA < layout.DirectMapEnd) {
		return 0, false
	}
	return m.ranges.gap(l.PFN, l.PFN+x86.PFN(l.Level.Size()/x86.PageSize))
}

// entryText is how much code a user root may map: the entry code, in pages of 2 MiB.
const entryText = 4 << 20

// userRoot checks what a user root maps of the kernel.
func (v *kernelAudit) userRoot(l *tree.Leaf) {
	switch v.region.Region {
	case linux.RegionCPUEntry, linux.RegionESPFix, linux.RegionLDT, linux.RegionVsyscall:
		return
	case linux.RegionDirectMap, linux.RegionVMalloc:
		if l.Level == x86.LevelPTE && v.a.entryArea[l.PFN] {
			return
		}
	case linux.RegionText:
		v.userRootImage(l)
		return
	}
	v.add(rulePTIUserMapsKernel, l, v.region.Name+" in a user root", "")
}

func (v *kernelAudit) userRootImage(l *tree.Leaf) {
	switch {
	case l.Rights.W:
		v.add(rulePTIUserMapsKernel, l, "writable kernel image in a user root", "")
		return
	case l.Rights.X && l.VA+x86.Virt(l.Level.Size()) <= v.a.in.System.Layout.TextFirst+entryText:
		return
	}
	why := ""
	if v.a.noPCID() {
		why = "no CPU has PCIDs: Linux keeps its image in the TLB, for programs too (pti_clone_kernel_text())"
	}
	v.add(rulePTIUserMapsKernel, l, "kernel image in a user root", why)
}

// noPCID reports that the processors are known not to use PCIDs.
func (a *auditor) noPCID() bool {
	for _, c := range a.in.CPUs {
		if c.CR4&x86.CR4PCIDE != 0 {
			return false
		}
	}
	return len(a.in.CPUs) > 0
}

// aliases looks for other addresses at which what the kernel executes can be written.
func (v *kernelAudit) aliases() {
	a := v.a
	if !a.ram.known || !v.list.on(ruleExecutableAliasWritable) {
		return
	}
	base := a.in.System.Layout.DirectMap.Addr
	for _, e := range a.exec {
		f, direct := a.ram.readOnly.gap(e.First, e.End)
		direct = direct && a.ram.ranges.has(f)
		other, text := base+x86.Virt(f.Phys()), "writable through the direct map"
		if !direct {
			if f, direct = a.writableAlias(e.frameSpan); !direct {
				continue
			}
			other, text = 0, "writable at another address of the kernel half"
		}
		found := &finding{
			place: e.at, Rule: ruleExecutableAliasWritable, Severity: rules[ruleExecutableAliasWritable].Severity,
			Size: e.at.Level.Size(), Count: 1, PFN: f, HasPFN: true, Text: text,
			Region: linux.RegionAt(a.in.Markers, e.at.VA).Name,
		}
		if other != 0 {
			found.Others = []place{{Space: v.space, VA: other}}
		}
		v.list.add(found, nil)
	}
}

// writableAlias returns a frame of the range that the kernel half maps writable elsewhere than in the direct map.
func (a *auditor) writableAlias(r frameSpan) (x86.PFN, bool) {
	for f := r.First; f < r.End; f++ {
		if a.fr.get(uint64(f))&frWritable != 0 {
			return f, true
		}
	}
	return 0, false
}
