package audit

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// newFinding makes a finding of one entry.
func newFinding(r ruleID, s *addressSpace, l *tree.Leaf, text string) *finding {
	return &finding{
		place: place{s, l.VA, l.Level, l.Raw, l.Place()}, Rule: r, Severity: rules[r].Severity,
		Size: l.Level.Size(), Count: 1, PFN: l.PFN, HasPFN: l.HasPFN, Text: text,
	}
}

// reserved reports bits that make an entry useless to the processor, or that no large page has. area may be nil.
func (a *auditor) reserved(list *findingList, s *addressSpace, region string, l *tree.Leaf, area *auditArea) bool {
	bits := a.in.ABI.ReservedBits(l.Level, l.Raw)
	if l.Level > x86.LevelPTE && l.Raw&x86.PagePresent == 0 {
		// The frame of these is inverted, and only in the bits that a large page has.
		bits = a.in.ABI.ReservedBits(l.Level, l.Raw|x86.PagePresent) & (l.Level.Size() - 1)
	}
	low := uint64(0)
	if l.Level > x86.LevelPTE {
		low = bits & (l.Level.Size() - 1)
	}
	found := func(r ruleID, text string) {
		f := newFinding(r, s, l, text)
		f.Region = region
		list.add(f, area)
	}
	if low != 0 {
		found(ruleHugeMisaligned, fmt.Sprintf("bits %#x below the frame of a page of %s", low, report.AppendSize(nil, l.Level.Size())))
	}
	if bits &^= low; bits != 0 {
		found(ruleReservedBits, fmt.Sprintf("reserved bits %#x", bits))
	}
	return low|bits != 0
}

// problem reports what keeps a part of the address space from being read.
func (a *auditor) problem(list *findingList, s *addressSpace, region string, p *pgtable.Problem) {
	rule, text := ruleUnreadTable, tree.ProblemText(p)
	switch {
	case errors.Is(p.Err, pgtable.ErrLoop):
		rule = ruleTableLoop
	case errors.Is(p.Err, pgtable.ErrReserved):
		rule = ruleReservedBits
	case errors.Is(p.Err, pgtable.ErrBadEntry):
		rule = ruleBadTableEntry
	case errors.Is(p.Err, physmem.ErrAbsent) && a.ram.outside(a.in.ABI.TableFrame(p.Raw)):
		rule, text = ruleTableOutsideRAM, fmt.Sprintf("frame %#x is not RAM", uint64(a.in.ABI.TableFrame(p.Raw)))
	}
	list.add(&finding{
		place: place{s, p.VA, p.Level, p.Raw, p.Entry}, Rule: rule, Severity: rules[rule].Severity,
		Size: p.Size, Count: max(p.Size/p.Level.Size(), 1), Text: text, Region: region,
	}, nil)
}

// markRoots marks the root tables of a space. An entry that leads to one then leads to a table that is linked already. It
// reports whether the root that programs run on was marked before.
func (a *auditor) markRoots(s *addressSpace) (again bool) {
	if k := a.in.Kernel; k != nil && k != s && k.roots.Kernel == s.roots.Kernel {
		return false // the kernel's half was read through it, and it was marked then
	}
	roots := []x86.Phys{s.roots.Kernel}
	if s.roots.PTI {
		roots = append(roots, s.roots.User)
	}
	for _, r := range roots {
		before, after := a.fr.setAgain(uint64(r.PFN()), frTable, frTableAgain, 0)
		a.look(before, after)
		again = before&frTable != 0
	}
	return again
}
