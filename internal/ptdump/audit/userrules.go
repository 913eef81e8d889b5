package audit

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
)

// special reports whether the kernel sees no struct page behind an entry, or may not.
func (v *userAudit) special(l *tree.Leaf, area *auditArea) bool {
	abi := v.a.in.ABI
	if l.Raw&abi.DevmapMask() != 0 {
		return true
	}
	if l.Level > x86.LevelPTE && !abi.Kernel().HugeSpecial {
		return area == nil || area.Driver
	}
	return l.Raw&x86.PageSpecial != 0
}

// notInverted reports a page with PROT_NONE whose frame, as it is stored, is RAM. Frame 0 is that of no bits at all.
func (v *userAudit) notInverted(l *tree.Leaf) bool {
	stored := x86.PFN(l.Raw & v.a.in.ABI.FrameMask(l.Level) >> x86.PageShift)
	return l.Kind == tree.KindProtnone && stored != 0 && v.a.ram.known && v.a.ram.ranges.has(stored)
}

// frames checks the frame of a page, and takes note of who maps it.
func (v *userAudit) frames(l *tree.Leaf, area *auditArea) {
	special := v.special(l, area)
	if f, out := v.a.ram.outsideAny(l); out && !special {
		if v.notInverted(l) {
			v.add(ruleProtnoneNotInverted, l, area, "the frame is stored as it is", "")
		} else {
			v.add(ruleFrameOutsideRAM, l, area, fmt.Sprintf("frame %#x is not RAM", uint64(f)), "")
		}
		return
	}
	if v.quiet > 0 {
		return
	}
	present := l.Raw&x86.PagePresent != 0
	writable := present && v.writable(l)
	bits := uint32(0)
	if present {
		bits |= frReadable
	}
	if writable {
		bits |= frWritable
	}
	switch driver := area != nil && area.Driver; {
	case special || driver:
		v.a.mark(l, 0, 0, bits)
	case writable && area.private():
		v.a.mark(l, frUser, frUserAgain, bits|frPrivate)
	default:
		v.a.mark(l, frUser, frUserAgain, bits)
	}
}

// writable reports whether the program can write through the entry itself, shadow stacks included.
func (v *userAudit) writable(l *tree.Leaf) bool {
	abi := v.a.in.ABI
	switch l.Level {
	case x86.LevelPMD:
		return x86.PMD(l.Raw).Write(abi)
	case x86.LevelPUD:
		return x86.PUD(l.Raw).Write()
	}
	return x86.PTE(l.Raw).Write(abi)
}

// page checks a page by its entry alone.
func (v *userAudit) page(l *tree.Leaf, area *auditArea) {
	if l.Raw&x86.PagePresent == 0 {
		return
	}
	r := l.Rights
	if r.W && r.X && r.U && (area == nil || area.Write && area.Exec) {
		why := ""
		if area != nil {
			why = "the program asked for it: the area has VM_WRITE and VM_EXEC"
		}
		v.add(ruleUserWX, l, area, "writable and executable", why)
	}
	if !r.U {
		v.add(ruleUserSupervisor, l, area, "no USER: only the kernel can use this", "")
	}
	if l.Raw&x86.PageGlobal != 0 {
		v.add(ruleUserGlobal, l, area, "GLOBAL", "")
	}
	v.savedDirty(l, area)
	if l.Raw&x86.PageUffdWP != 0 && v.writable(l) {
		v.add(ruleUffdWPWritable, l, area, "writable, and write-protected by userfaultfd", "")
	}
}

// savedDirty checks how the dirty state is kept.
func (v *userAudit) savedDirty(l *tree.Leaf, area *auditArea) {
	abi := v.a.in.ABI
	if !abi.Kernel().SavedDirty {
		return
	}
	switch rw, d := l.Raw&x86.PageRW != 0, l.Raw&x86.PageDirty != 0; {
	case rw && l.Raw&abi.SavedDirtyMask() != 0 && (l.Level == x86.LevelPTE || area != nil && !area.Huge):
		v.add(ruleSavedDirtyWritable, l, area, "RW and SAVED_DIRTY", "")
	case rw || !d:
	case area != nil && !area.ShadowStack:
		v.add(ruleShadowStackEntry, l, area, "D without RW, in an area that is no shadow stack", "")
	case area == nil && !v.cet && len(v.a.in.CPUs) > 0:
		v.add(ruleShadowStackEntry, l, area, "D without RW, and no processor has shadow stacks", "")
	}
}

// inArea checks a page against its area.
func (v *userAudit) inArea(l *tree.Leaf, a *auditArea) {
	if a.Pkey >= 0 && l.Pkey() != a.Pkey {
		v.add(rulePkeyMismatch, l, a, fmt.Sprintf("key %d, and the area has %d", l.Pkey(), a.Pkey), "")
	}
	if l.Raw&x86.PageUffdWP != 0 && !a.UffdWP {
		v.add(ruleStaleUffdWP, l, a, "uffd-wp in an area that is not registered", "")
	}
	if l.Raw&x86.PagePresent == 0 {
		return
	}
	rw := l.Raw&x86.PageRW != 0
	switch {
	case !a.Read && !a.Write && !a.Exec:
		v.add(ruleAccessibleNoneArea, l, a, "present, and the area permits nothing", "")
	case rw && !a.Write:
		v.withoutWrite(l, a)
	}
	if l.Rights.X && !a.Exec && v.a.in.ABI.Paging().NX && (a.Read || a.Write) {
		v.add(ruleExecutableWithoutVMExec, l, a, "executable, and the area is not", "")
	}
	if rw && l.Raw&x86.PageSpecial != 0 && !a.Driver && (l.Level == x86.LevelPTE || v.a.in.ABI.Kernel().HugeSpecial) {
		v.add(ruleSpecialPageWritable, l, a, "RW and SPECIAL", "")
	}
	if v.a.in.Tracks && v.writable(l) && l.Raw&x86.PageSoftDirty == 0 && !a.SoftDirty && !a.Huge && !a.PFNMap && a.Write {
		v.add(ruleSoftDirtyCleanWritable, l, a, "writable, not soft-dirty, and the area is tracked", "")
	}
}

func (v *userAudit) withoutWrite(l *tree.Leaf, a *auditArea) {
	f := newFinding(ruleWritableWithoutVMWrite, v.space, l, "writable, and the area is not")
	f.Region = a.Name
	if a.Driver {
		f.Severity, f.Text = sevWarning, "writable, and the area, a driver's, is not"
	}
	v.list.add(f, a)
}
