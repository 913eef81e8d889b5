package who

import (
	"context"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// mapped is which of the frames asked for the direct map has an entry for. Linux maps all memory there and no device, so that
// it tells what memory is where a capture lists only what it holds: page tables, say.
type mapped struct {
	frames []physmem.Range
	known  bool // the direct map could be asked
}

// lowEnd is the end of the first MiB, all of which Linux maps whether it is memory or not.
//
// Linux: arch/x86/mm/init.c:init_mem_mapping(), ISA_END_ADDRESS
const lowEnd x86.Phys = 1 << 20

// ranges returns what is memory: what the capture lists, and what the direct map has.
func (m *mapped) ranges(listed []physmem.Range) []physmem.Range {
	return physmem.Normalize(append(append([]physmem.Range(nil), listed...), m.frames...))
}

// directMapped asks the direct map about the frames wanted.
func (s *Search) directMapped(ctx context.Context, want *wanted) mapped {
	k := s.Spaces.Kernel
	if k == nil || k.System == nil || !k.System.Layout.DirectMap.Found || k.System.Layout.Missed {
		return mapped{}
	}
	base, end := k.System.Layout.DirectMap.Addr, k.System.Layout.RAMEnd()
	m := mapped{known: true}
	for _, in := range want.frames {
		first, last := max(x86.PFN(in.first).Phys(), lowEnd), x86.PFN(in.last+1).Phys()-1
		if last = min(last, end-1); end == 0 || first > last {
			continue
		}
		v := &ramVisitor{base: base, to: &m}
		r := pgtable.Range{First: base + x86.Virt(first), Last: base + x86.Virt(last)}
		if err := k.Stretches(ctx, r, v); err != nil {
			m.known = false
		}
	}
	m.frames = physmem.Normalize(m.frames)
	return m
}

// ramVisitor collects what a part of the direct map has entries for.
type ramVisitor struct {
	base x86.Virt
	to   *mapped
}

func (v *ramVisitor) Table(*pgtable.Table) bool { return true }

func (v *ramVisitor) Stretch(s *tree.Stretch) {
	at := x86.Phys(s.VA - v.base)
	v.to.frames = append(v.to.frames, physmem.Range{Start: at, End: at + x86.Phys(s.Size())})
	if len(v.to.frames) >= 1<<16 {
		v.to.frames = physmem.Normalize(v.to.frames)
	}
}

func (v *ramVisitor) Problem(*pgtable.Problem) { v.to.known = false }
