package mm_test

import (
	"ptemu/litmus"
)

// opQuiet is an operation that programs do not notice.
func (w *world) opQuiet() {
	p, r, i, n := w.anyPlace(1100)
	what := pick(w, "what", []string{"migrate", "migrate", "numa", "numa", "cold", "hugepage", "nohugepage", "mergeable", "unmergeable", "device-exclusive", "collapse", "khugepaged"})
	switch what {
	case "cold", "hugepage", "nohugepage", "mergeable", "unmergeable":
		w.advise(p, what, r, i, n)
	case "device-exclusive":
		w.call(p, what, r, i, min(n, 2))
		each(p, r, i, n, (*mpage).mayCopy)
	default:
		w.call(p, what, r, i, n)
	}
	w.unsure(p, r, i, n)
}

// opMigrate moves a page or two.
func (w *world) opMigrate() {
	p, r, i, n := w.anyPlace(2)
	w.call(p, pick(w, "what", []string{"migrate", "migrate", "numa"}), r, i, n)
	w.unsure(p, r, i, n)
}

// unsure: whether the pages are there is not known any more.
func (w *world) unsure(p *proc, r *region, i, n int) {
	for k := range n {
		if pg := p.pages[r.at(i+k)]; pg != nil && pg.has == no {
			pg.has = unknown
		}
		if w.around {
			w.neighbours(p, r, i+k)
		}
	}
}

func (w *world) opSwapOut() {
	p, r, i, n := w.anyPlace(1100)
	w.call(p, "swap-out", r, i, n)
}

// opMachine is an operation on a whole process, or the machine.
func (w *world) opMachine() {
	p := w.proc()
	what := pick(w, "what", []string{"soft-dirty", "referenced", "ksm", "ksm zero", "swapoff", "writeback"})
	s := step(p, what)
	s.CPU = w.cpu()
	switch what {
	case "soft-dirty", "referenced":
		s.Op.Verb, s.Op.Options = "clear-refs", []litmus.Option{opt(what)}
	case "ksm zero":
		s.Op.Verb, s.Op.Options = "ksm", []litmus.Option{opt("zero-pages")}
	case "writeback":
		s.Op.Name = w.files[1].name
	}
	w.do(s, litmus.Span{}, litmus.Span{}, 0)
	if what == "swapoff" {
		s.Op.Verb = "swapon"
		w.do(s, litmus.Span{}, litmus.Span{}, 0)
	}
}

func (w *world) opPopulate() {
	p, r, i, n := w.place(16)
	w.advise(p, pick(w, "as", []string{"populate-read", "populate-write"}), r, i, n)
	each(p, r, i, n, (*mpage).mayCopy)
	w.unsure(p, r, i, n)
	each(p, r, i, n, func(pg *mpage) {
		if pg.has == unknown && pg.protected == no && pg.wp {
			pg.protected = unknown
		}
	})
}
