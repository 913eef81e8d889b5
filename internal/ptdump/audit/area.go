package audit

import (
	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/space"
	"ptemu/linux/proc"
)

// auditArea is an area of a process, as far as the rules ask of it.
type auditArea struct {
	Start, End x86.Virt // End is the first address behind it
	Name       string
	Pkey       int // -1 if not known
	// What vm_flags say. Driver is any of VM_PFNMAP, VM_MIXEDMAP and VM_IO.
	Read, Write, Exec, Shared                            bool
	SoftDirty, Huge, PFNMap, Driver, UffdWP, ShadowStack bool
}

// makeAreas reads the flags of areas; it returns none if what they mean is not known. tracks says that one has
// VM_SOFTDIRTY. Where the kernel's bit for shadow stacks is not known, and the processor has them, every area may be one.
func makeAreas(procs *proc.Processes, vmas []proc.VMA, shadowStacks bool) (areas []auditArea, tracks bool) {
	if procs.Flag("rd") == 0 {
		return nil, false
	}
	masks := map[string]uint64{}
	for _, code := range []string{"rd", "wr", "ex", "sh", "sd", "ht", "uw", "ss", "pf", "mm", "io"} {
		masks[code] = procs.Flag(code)
	}
	has := func(v *proc.VMA, code string) bool { return v.Flags&masks[code] != 0 }
	for i := range vmas {
		v := &vmas[i]
		a := auditArea{
			Start: v.Start, End: v.End, Name: report.QuoteName(space.AreaName(v)), Pkey: x86.PTE(v.Prot).Pkey(),
			Read: has(v, "rd"), Write: has(v, "wr"), Exec: has(v, "ex"), Shared: has(v, "sh"),
			SoftDirty: has(v, "sd"), Huge: has(v, "ht"), UffdWP: has(v, "uw"), ShadowStack: has(v, "ss"),
			PFNMap: has(v, "pf"), Driver: has(v, "pf") || has(v, "mm") || has(v, "io"),
		}
		a.ShadowStack = a.ShadowStack || shadowStacks && masks["ss"] == 0
		if v.Prot == 0 {
			a.Pkey = -1 // not read: none is zero
		}
		tracks = tracks || a.SoftDirty
		areas = append(areas, a)
	}
	return areas, tracks
}

// private reports a private area that may be written: what is writable there belongs to the process alone.
func (a *auditArea) private() bool { return a != nil && a.Write && !a.Shared }

// areaCursor finds areas for ascending addresses.
type areaCursor struct {
	areas []auditArea
	next  int
}

// at returns the area that holds va, nil if none does.
func (c *areaCursor) at(va x86.Virt) *auditArea {
	if c.next > 0 && c.areas[c.next-1].End > va {
		c.next = 0 // addresses begin again
	}
	for c.next < len(c.areas) && c.areas[c.next].End <= va {
		c.next++
	}
	if c.next < len(c.areas) && c.areas[c.next].Start <= va {
		return &c.areas[c.next]
	}
	return nil
}
