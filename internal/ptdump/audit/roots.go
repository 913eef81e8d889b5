package audit

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// hardwareBits are what the processor sets in entries of tables.
const hardwareBits = x86.PageAccessed | x86.PageDirty

const upperHalf = x86.EntriesPerTable / 2

// rootTables compares the root tables of a process with each other, and with those of init_mm.
func (a *auditor) rootTables(s *addressSpace, list *findingList) error {
	var own, user physmem.Table
	hasOwn := !s.roots.KernelMissing && a.readTable(s.roots.Kernel.PFN(), &own)
	hasUser := s.roots.PTI && a.readTable(s.roots.User.PFN(), &user)
	if hasOwn && hasUser {
		a.pair(s, list, &own, &user)
	}
	k := a.in.Kernel
	if k == nil || k.roots.Kernel == s.roots.Kernel {
		return nil
	}
	var kernel physmem.Table
	if hasOwn && !k.roots.KernelMissing && a.readTable(k.roots.Kernel.PFN(), &kernel) {
		if err := a.ownHalf(s, list, &kernel, &own); err != nil {
			return err
		}
	}
	if hasUser && k.roots.PTI && a.readTable(k.roots.User.PFN(), &kernel) {
		return a.ownUserHalf(s, list, &kernel, &user)
	}
	return nil
}

// slotFinding makes a finding of an entry of a root table.
func (a *auditor) slotFinding(r ruleID, s *addressSpace, root x86.Phys, i int, raw uint64, text string) *finding {
	p := a.in.ABI.Paging()
	va := p.SignExtend(x86.Virt(uint64(i) << p.Root().Shift()))
	return &finding{
		place: place{s, va, p.Root(), raw, root + x86.Phys(8*i)}, Rule: r, Severity: rules[r].Severity,
		Size: p.Root().Size(), Count: 1, Text: text,
	}
}

// pair checks the user halves of a kernel and a user root.
func (a *auditor) pair(s *addressSpace, list *findingList, own, user *physmem.Table) {
	for i := range upperHalf {
		k, u := own[i], user[i]
		if (k^u)&^(hardwareBits|x86.PageNX) != 0 {
			list.add(a.slotFinding(rulePTIRootsDiffer, s, s.roots.User, i, u, fmt.Sprintf("the kernel's root has %#016x here", k)), nil)
		}
		if k&(x86.PagePresent|x86.PageNX) == x86.PagePresent && a.in.ABI.Paging().NX {
			list.add(a.slotFinding(rulePTINXMissing, s, s.roots.Kernel, i, k, "no NX in the kernel's root"), nil)
		}
	}
}

// ownHalf looks for entries in the kernel half that init_mm does not have, and audits what they lead to.
//
// Linux: arch/x86/mm/pgtable.c:pgd_ctor(), arch/x86/kernel/ldt.c:map_ldt_struct()
func (a *auditor) ownHalf(s *addressSpace, list *findingList, kernel, own *physmem.Table) error {
	return a.differing(s, list, s.roots.Kernel, kernel, own, func(i int) {
		f := a.slotFinding(ruleKernelHalfDiffers, s, s.roots.Kernel, i, own[i], fmt.Sprintf("init_mm has %#016x here", kernel[i]))
		list.add(f, nil)
	}, false)
}

// ownUserHalf is ownHalf for user roots.
func (a *auditor) ownUserHalf(s *addressSpace, list *findingList, kernel, user *physmem.Table) error {
	return a.differing(s, list, s.roots.User, kernel, user, func(int) {}, true)
}

func (a *auditor) differing(s *addressSpace, list *findingList, root x86.Phys, kernel, own *physmem.Table, report func(i int), pti bool) error {
	p := a.in.ABI.Paging()
	for i := upperHalf; i < x86.EntriesPerTable; i++ {
		if own[i] == 0 || (own[i]^kernel[i])&^hardwareBits == 0 {
			continue
		}
		first := p.SignExtend(x86.Virt(uint64(i) << p.Root().Shift()))
		ldt := a.ldtSlot(first)
		if !ldt {
			report(i)
		}
		v := a.kernelAudit(s)
		v.list, v.pti, v.holes = list, pti, v.holes && !ldt
		if err := v.walk(root, pgtable.Range{First: first, Last: first + x86.Virt(p.Root().Size()-1)}); err != nil {
			return err
		}
	}
	return nil
}

// ldtSlot reports whether a root entry is that of the LDTs.
func (a *auditor) ldtSlot(first x86.Virt) bool {
	return linux.RegionAt(a.in.Markers, first).Region == linux.RegionLDT
}
