package pgtable

import (
	"errors"

	"ptemu/arch/x86"
	"ptemu/internal/ptescan"
	"ptemu/physmem"
)

// populating changes r and makes the tables that are missing, 2 MiB at a time. Where there is no memory for one, old
// kernels leave the slot out.
func (w *protector) populating(r Range) error {
	for first := r.First; ; {
		last := min(r.Last, first|x86.Virt(x86.LevelPMD.Size()-1))
		err := w.t.EachPMD(Range{First: first, Last: last}, true, func(s PMDSlot) error {
			if err := w.prepare(&s); err != nil {
				return err
			}
			return w.slot(&s)
		})
		switch {
		case err == nil:
		case w.p.stops || !errors.Is(err, physmem.ErrNoMemory):
			return w.located(first, err)
		}
		if last == r.Last {
			return nil
		}
		first = last + 1
	}
}

// located adds the place to an error that has none.
func (w *protector) located(va x86.Virt, err error) error {
	var e *AddrError
	if errors.As(err, &e) {
		return err
	}
	return &AddrError{va, err}
}

// changing is what the change of a table needs for itself. It stays with a [Gather]: kernels learn from each table for
// the next, so that a Protection which several goroutines use cannot be handed to them.
type changing struct {
	of     *Protection
	change ptescan.Change
	r      ptescan.Changed
}

// on makes w ready for p.
func (w *changing) on(p *Protection) *changing {
	if w.of != p {
		w.of, w.change = p, p.change
	}
	return w
}

// table changes slots first to last of a locked PTE table and returns how many entries count. next is prefetched.
//
// Linux: mm/mprotect.c:change_pte_range()
func (p *Protection) table(g *Gather, c PTECursor, first, last int, next *physmem.Table) int64 {
	t, w := (*ptescan.Table)(c.Table()), g.work.on(p)
	r := &w.r
	if p.hints || p.batches {
		p.tableWithFolios(w, c, first, last, next)
	} else {
		w.change.Apply(t, first, last, nil, (*ptescan.Table)(next), r)
	}
	p.settle(c, r)
	if r.First <= r.Last {
		g.PTEs(c, int(r.First), int(r.Last))
	}
	return int64(r.Present + r.Rewritten)
}

// settle does what the vector kernel could not.
func (p *Protection) settle(c PTECursor, r *ptescan.Changed) {
	if r.Asked != 0 {
		p.answer((*ptescan.Table)(c.Table()), r)
	}
	if p.recounts && (r.Rewritten != 0 || p.pte.Blank != 0) {
		c.Recount()
	}
}

// tableWithFolios is [ptescan.Change.Apply] where pages are skipped, or where large folios are treated as one.
func (p *Protection) tableWithFolios(w *changing, c PTECursor, first, last int, next *physmem.Table) {
	t := (*ptescan.Table)(c.Table())
	var skip Bitmap
	var only *Bitmap
	if p.hints {
		skip = p.Pages.Skip(c, first, last)
	}
	if p.batches && (p.hints || !p.settled(t, first, last)) {
		p.mergeBatches(t, first, last, &skip)
	}
	if p.hints {
		only = &skip
		for i := range only {
			only[i] = ^only[i]
		}
	}
	w.change.Apply(t, first, last, only, (*ptescan.Table)(next), &w.r)
}

// answer decides about the entries that the vector kernel left to the caller.
func (p *Protection) answer(t *ptescan.Table, r *ptescan.Changed) {
	for i := range r.Ask.All() {
		old := t[i]
		if !x86.PTE(old).Present() {
			if v := uint64(p.Pages.Other(x86.PTE(old))); v != old {
				t[i] = v
				r.Rewritten++
			}
			continue
		}
		v := p.pte.Apply(old)
		if p.Pages != nil && p.Pages.Exclusive(x86.PTE(v).PFN(p.abi)) {
			v = p.pte.MkWrite(v)
		}
		t[i] = v
		if p.pte.NeedsFlush(old, v) {
			r.First, r.Last = min(r.First, int64(i)), max(r.Last, int64(i))
		}
	}
}
