package mm_test

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"ptemu/arch/x86"
	"ptemu/litmus"
)

func (w *world) number(label string, from, to int) int {
	return rapid.IntRange(from, to).Draw(w.t, label)
}

func (w *world) chance(label string, percent int) bool { return w.number(label, 1, 100) > 100-percent }

func pick[T any](w *world, label string, all []T) T {
	if len(all) == 0 {
		w.skip("none")
	}
	return all[w.number(label, 0, len(all)-1)]
}

func (w *world) proc() *proc { return pick(w, "process", w.procs) }

func (w *world) cpu() int { return w.freeCPU() }

// place draws a process, a region and up to limit pages of it that are all mapped, and that nothing under way touches.
func (w *world) place(limit int) (p *proc, r *region, i, n int) {
	p, r, i, n = w.anyPlace(limit)
	for k := range n {
		if w.standing.touches(p.pages[r.at(i+k)]) {
			w.skip("somebody is at it")
		}
	}
	return p, r, i, n
}

// anyPlace is place for operations that programs do not notice.
func (w *world) anyPlace(limit int) (p *proc, r *region, i, n int) {
	if at, ok := w.recently(); ok && w.chance("recent", 45) {
		return at.p, at.r, at.i, 1
	}
	p, r = w.proc(), pick(w, "region", w.regions)
	i, n = w.run1(r, limit)
	for k := range n {
		if p.pages[r.at(i+k)] == nil {
			if n = k; n == 0 {
				w.skip("not mapped")
			}
			break
		}
	}
	return p, r, i, n
}

// spot is a page of a process.
type spot struct {
	p *proc
	r *region
	i int
}

// recently draws a page that was touched not long ago, and is mapped still.
func (w *world) recently() (spot, bool) {
	var all []spot
	for _, at := range w.recent {
		if at.p.pages[at.r.at(at.i)] != nil && slices.Contains(w.procs, at.p) {
			all = append(all, at)
		}
	}
	if len(all) == 0 {
		return spot{}, false
	}
	return pick(w, "recently", all), true
}

// run1 draws pages of a region: any few, or, of a large one, around the borders of huge pages, or whole huge pages.
func (w *world) run1(r *region, limit int) (i, n int) {
	if r.pages <= 16 {
		i = w.number("first", 0, r.pages-1)
		return i, w.number("pages", 1, min(limit, r.pages-i))
	}
	i = min(r.pages-1, pick(w, "first", []int{0, 1, 2, 500, 511, 512, 513, 1023, 1024}))
	if limit >= x86.EntriesPerTable && w.chance("whole", 40) {
		i = i / x86.EntriesPerTable * x86.EntriesPerTable
		return i, min(x86.EntriesPerTable, r.pages-i)
	}
	return i, w.number("pages", 1, min(limit, 16, r.pages-i))
}

// call does an operation on pages.
func (w *world) call(p *proc, verb string, r *region, i, n int, o ...litmus.Option) litmus.Outcome {
	s := step(p, verb)
	s.CPU, s.Op.At, s.Op.Options = w.cpu(), pagesOf(r, i, n), o
	return w.do(s, spanOf(r, i, n), litmus.Span{}, 0)
}

func (w *world) advise(p *proc, advice string, r *region, i, n int) litmus.Outcome {
	return w.call(p, "advise", r, i, n, opt(advice))
}

// each calls f for the pages.
func each(p *proc, r *region, i, n int, f func(pg *mpage)) {
	for k := range n {
		if pg := p.pages[r.at(i+k)]; pg != nil {
			f(pg)
		}
	}
}

// region adds a region of n pages, where package litmus puts it.
func (w *world) region(n int, behind *region) *region {
	r := &region{name: fmt.Sprintf("r%d", len(w.regions)), va: w.next, pages: n}
	if behind != nil {
		r.va = behind.at(behind.pages)
	}
	const align = x86.Virt(x86.EntriesPerTable * x86.PageSize)
	w.next = max(w.next, (r.at(n)+align-1)&^(align-1)+align)
	w.regions = append(w.regions, r)
	return r
}

var prots = []string{"rw", "rw", "rw", "r", "rx", "rwx", "none"}

func (pg *mpage) allow(prot string) {
	pg.r, pg.w, pg.x = slices.Contains([]byte(prot), 'r'), slices.Contains([]byte(prot), 'w'), slices.Contains([]byte(prot), 'x')
	if prot == "none" {
		pg.r = false
	}
}
