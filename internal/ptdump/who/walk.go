package who

import (
	"context"
	"sync/atomic"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/tree"
	"ptemu/internal/ptdump/usage"
	"ptemu/pgtable"
)

// maxHits bounds what is kept of the answer.
const maxHits = 1 << 20

// visitor collects the hits of one walk.
type visitor struct {
	ctx      context.Context
	decoder  tree.Decoder
	want     *wanted
	frame    uint64 // mask of a PTE
	memo     tree.Memo[hit]
	leaf     tree.Leaf
	hits     []hit
	problems []pgtable.Problem
	total    *atomic.Int64 // of all walks
}

// who walks a part and returns where it names what is wanted. total counts the hits of all walks.
func (p treePart) who(ctx context.Context, want *wanted, total *atomic.Int64) (*visitor, error) {
	v := &visitor{
		ctx: ctx, decoder: p.Decoder(), want: want, frame: p.ABI.FrameMask(x86.LevelPTE), total: total,
		memo: tree.Memo[hit]{Join: func(*hit, *hit) bool { return false }, Move: func(h *hit, by x86.Virt) { h.va += by }},
	}
	err := pgtable.Walk(p.Mem, p.ABI, p.Root.PFN(), p.r, v)
	if err != nil && ctx.Err() == nil && v.total.Load() <= maxHits {
		err = p.RootProblem(ctx, err, &v.problems)
	}
	if p.MM != nil && p.what == "" && p.MM.Roots.PTI {
		v.table(p.MM.Roots.User.PFN(), 0, p.ABI.Paging().Root(), 0, 0)
	}
	return v, err
}

func (v *visitor) Enter(t *pgtable.Table) (bool, error) {
	if err := v.ctx.Err(); err != nil {
		return false, err
	}
	if err := v.table(t.PFN, t.VA, t.Level, t.Parent, t.Raw); err != nil {
		return false, err
	}
	k, known := v.memo.Enter(t, true)
	if !known {
		return true, nil
	}
	return false, v.memo.Replay(t, k, v.add)
}

func (v *visitor) Leave(t *pgtable.Table) error {
	v.memo.Leave(t)
	return nil
}

func (v *visitor) Problem(p *pgtable.Problem) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	v.memo.Spoil()
	v.problems = append(v.problems, *p)
	return nil
}

// table takes a table into the answer if its frame is asked for.
func (v *visitor) table(pfn x86.PFN, va x86.Virt, l x86.Level, parent x86.Phys, raw uint64) error {
	if v.want.frames.overlapping(uint64(pfn), uint64(pfn)) == nil {
		return nil
	}
	return v.add(&hit{va: va, level: l, pages: 1, number: uint64(pfn), raw: raw, entry: parent, kind: kindTable, device: noDevice})
}

func (v *visitor) Slot(t *pgtable.Table, i int, s pgtable.Slot) error {
	if s == pgtable.SlotNone {
		return nil
	}
	return v.entryAt(t, i)
}

func (v *visitor) PTEs(t *pgtable.Table) error {
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
func (v *visitor) entryAt(t *pgtable.Table, i int) error {
	if x86.PTE(t.Entries[i]).None() {
		return nil
	}
	l := &v.leaf
	v.decoder.Leaf(l, t, i)
	pages := l.Level.Size() / x86.PageSize
	h := hit{
		va: l.VA, level: l.Level, pages: pages, number: uint64(l.PFN), raw: l.Raw, entry: l.Place(), kind: l.Kind,
		rights: l.Rights, device: noDevice,
	}
	among := v.want.frames
	switch {
	case l.HasPFN:
	case l.Kind == tree.KindSwap:
		h.device, h.number = l.Swap.Type, l.Swap.Offset
		among = v.want.slots[h.device]
	default:
		return nil
	}
	for _, in := range among.overlapping(h.number, h.number+pages-1) {
		part, ok := h.of(&Target{swap: h.device != noDevice, device: h.device, first: in.first, last: in.last})
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
func (v *visitor) add(h *hit) error {
	v.memo.Add(h)
	if n := len(v.hits); n > 0 && v.continues(&v.hits[n-1], h) {
		v.hits[n-1].pages += h.pages
		return nil
	}
	v.hits = append(v.hits, *h)
	if v.total.Add(1) > maxHits {
		return usage.Errorf("more than %d places name these frames: ask for fewer, or take --all", maxHits)
	}
	return nil
}

// continues reports whether b is the next entry of the same table and goes on where a ends.
func (v *visitor) continues(a, b *hit) bool {
	per := b.level.Size() / x86.PageSize
	flags := ^a.kind.FrameMask(v.decoder.ABI, a.level)
	switch a.kind {
	case tree.KindPresent, tree.KindProtnone, tree.KindUnknown:
	case tree.KindSwap:
		flags = tree.SwapFlags
	default:
		return false
	}
	return a.kind == b.kind && a.level == b.level && a.rights == b.rights && a.device == b.device &&
		a.va+x86.Virt(a.pages*x86.PageSize) == b.va && a.number+a.pages == b.number &&
		a.entry+x86.Phys(8*((a.offset+a.pages)/per)) == b.entry && uint64(a.entry)/x86.PageSize == uint64(b.entry)/x86.PageSize &&
		(a.raw^b.raw)&flags == 0
}
