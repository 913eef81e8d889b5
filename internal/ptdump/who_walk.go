package ptdump

import (
	"context"
	"sync/atomic"

	"ptemu/arch/x86"
	"ptemu/pgtable"
	"ptemu/physmem"
)

// treePart is a part of an address space that is walked in one go.
type treePart struct {
	*space
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

// parts returns all that a capture maps, each tree once: the kernel's half, unless only users are asked for, and the
// user half of every process.
func (m *machineSpaces) parts(userOnly bool) []treePart {
	var all []treePart
	if k := m.Kernel; k != nil && !userOnly {
		half := pgtable.Range{First: k.ABI.Paging().KernelHalf(), Last: ^x86.Virt(0)}
		all = append(all, treePart{k, half, partKernel})
		if roots := k.System.InitMM; roots != nil && roots.PTI && !roots.KernelMissing {
			all = append(all, treePart{&space{Session: k.at(roots.User)}, half, partKernelPTI})
		}
	}
	for _, s := range m.User {
		f := s.userHalf()
		all = append(all, treePart{s, f.bounds(), ""})
		if m.Kernel == nil || userOnly {
			continue
		}
		for _, r := range s.ownKernel(m.Kernel) {
			all = append(all, treePart{s, r, partOwn})
		}
	}
	return all
}

// ownKernel returns the parts of the kernel half that are not those of init_mm: with PTI, a process has its LDT there.
func (s *space) ownKernel(kernel *space) []pgtable.Range {
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

// maxHits bounds what is kept of the answer.
const maxHits = 1 << 20

// whoVisitor collects the hits of one walk.
type whoVisitor struct {
	ctx      context.Context
	decoder  decoder
	want     *whoWanted
	frame    uint64 // mask of a PTE
	memo     memo[hit]
	leaf     Leaf
	hits     []hit
	problems []Problem
	total    *atomic.Int64 // of all walks
}

// who walks a part and returns where it names what is wanted. total counts the hits of all walks.
func (p treePart) who(ctx context.Context, want *whoWanted, total *atomic.Int64) (*whoVisitor, error) {
	v := &whoVisitor{
		ctx: ctx, decoder: p.decoder(), want: want, frame: p.ABI.FrameMask(x86.LevelPTE), total: total,
		memo: memo[hit]{join: func(*hit, *hit) bool { return false }, move: func(h *hit, by x86.Virt) { h.va += by }},
	}
	err := pgtable.Walk(p.Mem, p.ABI, p.Root.PFN(), p.r, v)
	if err != nil && ctx.Err() == nil && v.total.Load() <= maxHits {
		err = p.rootProblem(ctx, err, &v.problems)
	}
	if p.MM != nil && p.what == "" && p.MM.Roots.PTI {
		v.table(p.MM.Roots.User.PFN(), 0, p.ABI.Paging().Root(), 0, 0)
	}
	return v, err
}

func (v *whoVisitor) Enter(t *pgtable.Table) (bool, error) {
	if err := v.ctx.Err(); err != nil {
		return false, err
	}
	if err := v.table(t.PFN, t.VA, t.Level, t.Parent, t.Raw); err != nil {
		return false, err
	}
	k, known := v.memo.enter(t, true)
	if !known {
		return true, nil
	}
	return false, v.memo.replay(t, k, v.add)
}

func (v *whoVisitor) Leave(t *pgtable.Table) error {
	v.memo.leave(t)
	return nil
}

func (v *whoVisitor) Problem(p *Problem) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	v.memo.spoil()
	v.problems = append(v.problems, *p)
	return nil
}

// table takes a table into the answer if its frame is asked for.
func (v *whoVisitor) table(pfn x86.PFN, va x86.Virt, l x86.Level, parent x86.Phys, raw uint64) error {
	if v.want.frames.overlapping(uint64(pfn), uint64(pfn)) == nil {
		return nil
	}
	return v.add(&hit{va: va, level: l, pages: 1, number: uint64(pfn), raw: raw, entry: parent, kind: kindTable, device: noDevice})
}

func (v *whoVisitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotNone {
		return nil
	}
	return v.entryAt(t, i)
}

func (v *whoVisitor) PTEs(t *pgtable.Table) error {
	low, span, frame := v.want.low, v.want.span, v.frame
	noFrames := len(v.want.frames) == 0
	for i := t.First; i <= t.Last; i++ {
		e := t.Entries[i]
		switch {
		case e&x86.PagePresent != 0:
			if noFrames || e&frame-low > span {
				continue
			}
		case e&x86.PageProtnone != 0:
			if noFrames || ^e&frame-low > span {
				continue
			}
		case e == 0:
			continue
		}
		if err := v.entryAt(t, i); err != nil {
			return err
		}
	}
	return nil
}

// entryAt looks closely at slot i of t.
func (v *whoVisitor) entryAt(t *pgtable.Table, i int) error {
	if x86.PTE(t.Entries[i]).None() {
		return nil
	}
	l := &v.leaf
	v.decoder.leaf(l, t, i)
	pages := l.Level.Size() / x86.PageSize
	h := hit{
		va: l.VA, level: l.Level, pages: pages, number: uint64(l.PFN), raw: l.Raw, entry: entryPlace(l), kind: l.Kind,
		rights: l.Rights, device: noDevice,
	}
	among := v.want.frames
	switch {
	case l.HasPFN:
	case l.Kind == KindSwap || l.Kind == KindSwapinError:
		h.device, h.number = l.Swap.Type, l.Swap.Offset
		among = v.want.slots[h.device]
	default:
		return nil
	}
	for _, in := range among.overlapping(h.number, h.number+pages-1) {
		part, ok := h.of(&whoTarget{swap: h.device != noDevice, device: h.device, first: in.first, last: in.last})
		if !ok {
			continue
		}
		if err := v.add(&part); err != nil {
			return err
		}
	}
	return nil
}

// add takes a hit into the answer, as a part of the one before if it continues that.
func (v *whoVisitor) add(h *hit) error {
	v.memo.add(h)
	if n := len(v.hits); n > 0 && v.continues(&v.hits[n-1], h) {
		v.hits[n-1].pages += h.pages
		return nil
	}
	v.hits = append(v.hits, *h)
	if v.total.Add(1) > maxHits {
		return usagef("more than %d places name these frames: ask for fewer, or take --all", maxHits)
	}
	return nil
}

// continues reports whether b is the next entry of the same table and goes on where a ends.
func (v *whoVisitor) continues(a, b *hit) bool {
	per := b.level.Size() / x86.PageSize
	flags := ^v.decoder.abi.FrameMask(a.level)
	switch a.kind {
	case KindPresent, KindProtnone:
	case KindSwap:
		flags = swapFlags
	default:
		return false
	}
	return a.kind == b.kind && a.level == b.level && a.rights == b.rights && a.device == b.device &&
		a.va+x86.Virt(a.pages*x86.PageSize) == b.va && a.number+a.pages == b.number &&
		a.entry+x86.Phys(8*((a.offset+a.pages)/per)) == b.entry && uint64(a.entry)/x86.PageSize == uint64(b.entry)/x86.PageSize &&
		(a.raw^b.raw)&flags == 0
}
