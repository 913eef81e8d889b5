package mm_test

import (
	"fmt"
	"slices"

	"ptemu/litmus"
)

// opHold takes references or pins of a page.
func (w *world) opHold() {
	if len(w.handles) >= 4 {
		w.skip("enough handles")
	}
	p, r, i, n := w.anyPlace(1)
	pg := p.pages[r.at(i)]
	s := step(p, pick(w, "how", []string{"get", "pin", "pin"}))
	w.names++
	s.CPU, s.Op.Name, s.Op.At = w.cpu(), fmt.Sprintf("h%d", w.names), pagesOf(r, i, n)
	write := w.chance("to write", 60)
	if write {
		s.Op.Options = append(s.Op.Options, opt("write"))
	}
	if s.Op.Verb == "pin" && w.chance("long", 40) {
		s.Op.Options = append(s.Op.Options, opt("longterm"))
	}
	out := w.do(s, spanOf(r, i, n), litmus.Span{}, 0)
	pg.mayCopy()
	w.unsure(p, r, i, n)
	if out.Errno != "" || out.Faults != "" {
		return
	}
	h := &handle{name: s.Op.Name}
	if write && s.Op.Verb == "pin" {
		switch {
		case pg.shared:
			h.file, h.index = pg.file, pg.index
		default:
			h.page, h.age = pg, pg.age
			pg.private, pg.values = true, slices.Clone(pg.may())
			pg.freed = false
		}
	}
	w.handles = append(w.handles, h)
}

// held returns a drawn handle of which it is known what it shows.
func (w *world) held() *handle {
	var all []*handle
	for _, h := range w.handles {
		if h.file != nil || h.page != nil && h.age == h.page.age && w.alive(h.page) {
			all = append(all, h)
		}
	}
	return pick(w, "handle", all)
}

func (w *world) alive(pg *mpage) bool {
	if !pg.private || pg.freed {
		return false
	}
	for _, p := range w.procs {
		for _, o := range p.pages {
			if o == pg {
				return true
			}
		}
	}
	return false
}

// opDevice reads or writes a page that is pinned.
func (w *world) opDevice() {
	h := w.held()
	s := step(nil, "device-read")
	s.Op.Name = h.name
	s.Process = w.procs[0].name
	if s.Process == litmus.DefaultProcess {
		s.Process = ""
	}
	if w.chance("write", 50) {
		w.last = w.last%250 + 1
		s.Op.Verb, s.Op.Options = "device-write", []litmus.Option{optN("=", uint64(w.last))}
		if h.file != nil {
			h.file.set(h.index, w.last)
		} else {
			h.page.values = []byte{w.last}
		}
	} else if h.file != nil {
		was := h.file.history(h.index)
		s.Op.Options = []litmus.Option{optN("=", uint64(was[len(was)-1]))}
	} else if may := slices.Compact(slices.Clone(h.page.may())); len(may) == 1 {
		s.Op.Options = []litmus.Option{optN("=", uint64(may[0]))}
	}
	w.do(s, litmus.Span{}, litmus.Span{}, 0)
}

func (w *world) opRelease() {
	if len(w.handles) == 0 {
		w.skip("none")
	}
	w.release(w.number("handle", 0, len(w.handles)-1))
}

func (w *world) release(i int) {
	s := step(w.procs[0], "release")
	s.Op.Name = w.handles[i].name
	w.do(s, litmus.Span{}, litmus.Span{}, 0)
	w.handles = slices.Delete(w.handles, i, i+1)
}

// opUffdRegister registers pages; the first time, the process opens its userfaultfd.
func (w *world) opUffdRegister() {
	p, r, i, n := w.place(1100)
	w.registerPages(p, r, i, n)
}

func (w *world) registerPages(p *proc, r *region, i, n int) {
	if !p.uffd {
		w.openUffd(p)
	}
	var modes []litmus.Option
	if p.missing {
		modes = append(modes, opt("missing"))
	}
	if p.wp {
		modes = append(modes, opt("wp"))
	}
	if out := w.call(p, "uffd-register", r, i, n, modes...); out.Errno != "" {
		return
	}
	each(p, r, i, n, func(pg *mpage) {
		if pg.file != nil {
			pg.has = unknown
		}
		pg.missing, pg.wp = p.missing, p.wp
	})
}

func (w *world) openUffd(p *proc) {
	s := step(p, "uffd")
	add := func(name string, percent int, field *bool) {
		if *field = w.chance(name, percent); *field {
			s.Op.Options = append(s.Op.Options, opt(name))
		}
	}
	if w.kernel != "6.1" {
		add("wp-unpopulated", 40, &p.marks)
		add("wp-async", 25, &p.async)
	}
	add("event-fork", 40, &p.forks)
	add("event-remap", 40, &p.remaps)
	p.marks = p.marks || p.async
	p.uffd = true
	switch w.number("modes", 0, 3) {
	case 0:
		p.missing = true
	case 1:
		p.missing, p.wp = true, true
	default:
		p.wp = true
	}
	if out := w.do(s, litmus.Span{}, litmus.Span{}, 0); out.Errno != "" {
		w.fail("uffd fails %s", out.Errno)
	}
}

// registered draws pages of a process that has a userfaultfd: mostly such as are registered.
func (w *world) registered(limit int) (p *proc, r *region, i, n int) {
	var spots []spot
	for _, p := range w.procs {
		for _, r := range w.regions {
			for i := range min(r.pages, 8) {
				if pg := p.pages[r.at(i)]; p.uffd && pg != nil && (pg.wp || pg.missing) && !w.standing.touches(pg) {
					spots = append(spots, spot{p, r, i})
				}
			}
		}
	}
	if len(spots) > 0 && w.chance("registered", 80) {
		at := pick(w, "at", spots)
		most := 1
		for most < limit && at.i+most < min(at.r.pages, 8) && at.p.pages[at.r.at(at.i+most)] != nil &&
			!w.standing.touches(at.p.pages[at.r.at(at.i+most)]) {
			most++
		}
		return at.p, at.r, at.i, w.number("pages", 1, most)
	}
	p, r, i, n = w.place(limit)
	if !p.uffd {
		w.skip("no userfaultfd")
	}
	return p, r, i, n
}

func (w *world) opUffdProtect() {
	p, r, i, n := w.registered(1100)
	out := w.call(p, "uffd-protect", r, i, n)
	each(p, r, i, n, func(pg *mpage) {
		switch {
		case !pg.wp:
		case out.Errno != "":
			pg.protected = unknown
		case pg.guard || pg.poison:
			pg.protected = unknown
		case pg.has == yes || pg.file != nil || p.marks:
			pg.protected = yes
		case pg.has == unknown && pg.protected == no:
			pg.protected = unknown
		}
		if pg.freed && pg.protected == yes && pg.file == nil && !p.marks {
			pg.protected = unknown
		}
	})
}

func (w *world) opUffdResolve() {
	p, r, i, n := w.registered(1100)
	out := w.call(p, "uffd-resolve", r, i, n)
	each(p, r, i, n, func(pg *mpage) {
		if pg.protected = no; out.Errno != "" || pg.guard || pg.poison {
			pg.protected = unknown
		}
	})
}

func (w *world) opUffdUnregister() {
	p, r, i, n := w.registered(1100)
	if out := w.call(p, "uffd-unregister", r, i, n); out.Errno != "" {
		return
	}
	each(p, r, i, n, func(pg *mpage) { pg.missing, pg.wp, pg.protected = false, false, no })
}

func (w *world) opUffdClose() {
	p := w.proc()
	if !p.uffd {
		w.skip("no userfaultfd")
	}
	w.do(step(p, "uffd-close"), litmus.Span{}, litmus.Span{}, 0)
	p.uffd, p.async, p.marks, p.forks, p.remaps, p.missing, p.wp = false, false, false, false, false, false, false
	for _, pg := range p.pages {
		pg.missing, pg.wp, pg.protected = false, false, no
	}
}

// filled: a page was put where none was.
func (w *world) filled(pg *mpage, what string, v byte) {
	if pg.file == nil && pg.has == yes && !pg.freed && !pg.poison {
		w.fail("%s fills a page that is there", what)
	}
	protected := pg.protected
	pg.set(v)
	pg.poison = false
	pg.protected = protected
	if pg.file != nil {
		pg.has = unknown
	}
}

func (w *world) opUffdCopy() {
	p, r, i, n := w.registered(1)
	pg := p.pages[r.at(i)]
	w.last = w.last%250 + 1
	o := []litmus.Option{optN("=", uint64(w.last))}
	wp := p.wp && w.chance("wp", 40)
	if wp {
		o = append(o, opt("wp"))
	}
	if out := w.call(p, "uffd-copy", r, i, n, o...); out.Errno != "" {
		return
	}
	w.filled(pg, "uffd-copy", w.last)
	if pg.protected = no; wp {
		pg.protected = yes
	}
}

func (w *world) opUffdZero() {
	p, r, i, n := w.registered(1)
	pg := p.pages[r.at(i)]
	if out := w.call(p, "uffd-zero", r, i, n); out.Errno != "" {
		return
	}
	w.filled(pg, "uffd-zero", 0)
	pg.zero = pg.file != nil && !pg.shared
	pg.protected = no
}

func (w *world) opUffdPoison() {
	if w.kernel == "6.1" {
		w.skip("no UFFDIO_POISON")
	}
	p, r, i, n := w.registered(1)
	pg := p.pages[r.at(i)]
	if pg.shared {
		w.skip("fork does not copy shared areas, nor what stands for no page there")
	}
	if out := w.call(p, "uffd-poison", r, i, n); out.Errno != "" {
		return
	}
	if pg.file == nil && pg.has == yes && !pg.freed {
		w.fail("uffd-poison replaces a page that is there")
	}
	pg.zapped()
	pg.poison, pg.has, pg.protected = true, yes, unknown
}

// opUffdMove moves one page.
func (w *world) opUffdMove() {
	if w.kernel == "6.1" {
		w.skip("no UFFDIO_MOVE")
	}
	p, r, i, n := w.registered(1)
	to := pick(w, "to", w.regions)
	k := w.number("at", 0, min(to.pages, 16)-1)
	src, dst := p.pages[r.at(i)], p.pages[to.at(k)]
	if dst == nil || dst == src {
		w.skip("nowhere")
	}
	s := step(p, "uffd-move")
	s.CPU, s.Op.At, s.Op.To = w.cpu(), pagesOf(r, i, n), pagesOf(to, k, 1)
	out := w.do(s, spanOf(r, i, n), spanOf(to, k, 1), 0)
	if out.Errno != "" {
		w.unsure(p, r, i, n)
		return
	}
	if dst.has == yes && !dst.freed && !dst.poison || dst.file != nil || src.file != nil {
		w.fail("uffd-move fills a page that is there")
	}
	dst.private, dst.values, dst.freed, dst.has = true, slices.Clone(src.may()), src.freed, yes
	if dst.freed {
		dst.has = unknown
	}
	dst.protected, dst.poison = unknown, false
	src.zapped()
	for _, h := range w.handles {
		if h.page == src || h.page == dst {
			h.page = nil
		}
	}
}

func (w *world) opScan() {
	if w.kernel == "6.1" {
		w.skip("no PAGEMAP_SCAN")
	}
	p, r, i, n := w.place(1100)
	w.call(p, "scan-protect", r, i, n)
	each(p, r, i, n, func(pg *mpage) {
		if pg.wp {
			pg.protected = unknown
		}
	})
}
