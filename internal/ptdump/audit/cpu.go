package audit

import (
	"fmt"

	"ptemu/arch/x86"
)

// auditCPU is what the registers of a processor say of protection.
type auditCPU struct {
	CPU      int
	CR0, CR4 uint64
	EFER     uint64
	HasEFER  bool
}

// processors checks the registers.
func (a *auditor) processors(l *findingList) {
	if len(a.in.CPUs) == 0 {
		return
	}
	add := func(c auditCPU, sev severity, text string) {
		l.add(&finding{
			place: place{Space: &addressSpace{name: fmt.Sprint("CPU ", c.CPU)}}, Rule: ruleCPUProtectionOff, Severity: sev, Count: 1, Text: text,
		}, nil)
	}
	all, some := ^uint64(0), uint64(0)
	for _, c := range a.in.CPUs {
		all, some = all&c.CR4, some|c.CR4
		if c.CR0&x86.CR0WP == 0 {
			add(c, sevError, "CR0.WP is clear: the kernel can write read-only pages")
		}
		if c.HasEFER && c.EFER&x86.EFERNXE == 0 {
			add(c, sevError, "EFER.NXE is clear: NX does not protect")
		}
	}
	for _, b := range []struct {
		mask uint64
		name string
	}{{x86.CR4SMEP, "SMEP"}, {x86.CR4SMAP, "SMAP"}} {
		for _, c := range a.in.CPUs {
			if some&^all&b.mask != 0 && c.CR4&b.mask == 0 {
				add(c, sevWarning, "CR4."+b.name+" is clear, and set on other processors")
			}
		}
	}
}
