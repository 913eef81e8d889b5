package mm_test

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"ptemu/arch/x86"
	"ptemu/litmus"
)

// actions are the operations that a program is drawn from.
func (w *world) actions() map[string]func(*rapid.T) {
	all := map[string]func(){
		"map": w.mapRegion, "unmap": w.opUnmap, "protect": w.opProtect, "remap": w.opRemap,
		"read": w.opRead, "write": w.opWrite, "write again": w.opWrite, "write more": w.opWrite, "fork": w.opFork, "fork too": w.opFork, "migrate": w.opMigrate, "migrate too": w.opMigrate, "uffd protect too": w.opUffdProtect,
		"exit": w.opExit, "dontneed": w.opDontNeed, "free": w.opFree, "fork advice": w.opForkAdvice, "guard": w.opGuard,
		"remove": w.opRemove, "file write": w.opFileWrite, "punch": w.opPunch, "quiet": w.opQuiet, "quiet too": w.opQuiet,
		"swap out": w.opSwapOut, "machine": w.opMachine, "populate": w.opPopulate, "hold": w.opHold, "device": w.opDevice, "release": w.opRelease,
		"uffd register": w.opUffdRegister, "uffd protect": w.opUffdProtect, "uffd resolve": w.opUffdResolve,
		"uffd unregister": w.opUffdUnregister, "uffd copy": w.opUffdCopy, "uffd zero": w.opUffdZero, "uffd poison": w.opUffdPoison,
		"uffd move": w.opUffdMove, "uffd close": w.opUffdClose, "scan": w.opScan, "race": w.opRace, "race too": w.opRace, "race more": w.opRace,
	}
	actions := map[string]func(*rapid.T){}
	for name, f := range all {
		actions[name] = func(t *rapid.T) {
			w.t = t
			f()
		}
	}
	return actions
}

func (w *world) mapRegion() {
	p := w.proc()
	s := step(p, "map")
	s.CPU = w.cpu()
	r, behind := w.newRegion()
	s.Op.Name, s.Op.Count, s.Op.Prot = r.name, r.pages, pick(w, "prot", prots)
	var file *mfile
	index, shared := 0, w.chance("shared", 35)
	if shared {
		s.Op.Options = append(s.Op.Options, opt("shared"))
		file = &mfile{pages: r.pages, shmem: true, was: map[int][]byte{}}
	}
	if r.pages <= 8 && w.chance("of a file", 35) {
		file = pick(w, "file", w.files)
		index = w.number("offset", 0, 2)
		s.Op.Options = append(s.Op.Options, optArg("of", file.name), optN("offset", uint64(index)))
	}
	if behind != nil {
		s.Op.Options = append(s.Op.Options, optArg("behind", behind.name))
	}
	populate, locked := w.chance("populate", 15), w.chance("locked", 5)
	if populate {
		s.Op.Options = append(s.Op.Options, opt("populate"))
	}
	if locked {
		s.Op.Options = append(s.Op.Options, opt("locked"))
	}
	if out := w.do(s, spanOf(r, 0, r.pages), litmus.Span{}, r.va); out.Errno != "" {
		w.fail("map fails %s", out.Errno)
	}
	for i := range r.pages {
		pg := &mpage{shared: shared, file: file, index: index + i, locked: locked}
		pg.allow(s.Op.Prot)
		if populate || locked {
			pg.has = unknown
			pg.mayCopy()
		}
		p.pages[r.at(i)] = pg
	}
}

// newRegion returns the region for a mapping: one more, or one that there is.
func (w *world) newRegion() (r, behind *region) {
	if len(w.regions) > 0 && (len(w.regions) >= 5 || w.chance("over", 30)) {
		return pick(w, "region", w.regions), nil
	}
	n := w.number("size", 1, 5)
	if w.big && w.chance("big", 40) {
		return w.region(1100, nil), nil
	}
	if len(w.regions) > 0 && w.chance("behind", 50) {
		last := w.regions[len(w.regions)-1]
		return w.region(n, last), last
	}
	return w.region(n, nil), nil
}

func (w *world) opUnmap() {
	p, r, i, n := w.place(1100)
	if out := w.call(p, "unmap", r, i, n); out.Errno != "" {
		w.fail("unmap fails %s", out.Errno)
	}
	w.lose(p, r, i, n)
}

func (w *world) lose(p *proc, r *region, i, n int) {
	for k := range n {
		delete(p.pages, r.at(i+k))
	}
}

func (w *world) opProtect() {
	p, r, i, n := w.place(1100)
	prot := pick(w, "prot", prots)
	s := step(p, "protect")
	s.CPU, s.Op.At, s.Op.Prot = w.cpu(), pagesOf(r, i, n), prot
	if out := w.do(s, spanOf(r, i, n), litmus.Span{}, 0); out.Errno != "" {
		w.fail("protect fails %s", out.Errno)
	}
	each(p, r, i, n, func(pg *mpage) { pg.allow(prot) })
}

// opRemap moves pages to a region of their number, or more.
func (w *world) opRemap() {
	p, r, i, n := w.place(1100)
	var to *region
	for _, o := range w.regions {
		if o.pages >= n && o.pages <= n+2 && o != r {
			to = o
		}
	}
	if to == nil || w.chance("new", 30) {
		if len(w.regions) > 9 {
			w.skip("enough regions")
		}
		to = w.region(n+w.number("more", 0, 2), nil)
	}
	stay := to.pages == n && w.chance("dontunmap", 25)
	s := step(p, "remap")
	s.CPU, s.Op.At, s.Op.Name, s.Op.Options = w.cpu(), pagesOf(r, i, n), to.name, []litmus.Option{optN("pages", uint64(to.pages))}
	if stay {
		s.Op.Options = append(s.Op.Options, opt("dontunmap"))
	}
	out := w.do(s, spanOf(r, i, n), litmus.Span{}, to.va)
	if out.Errno != "" {
		w.moved(p, r, to, i, w.movedBefore(p, r, i, n, to.pages == n, out.Errno), stay)
		w.resync(p, r)
		w.resync(p, to)
		return
	}
	w.lose(p, to, 0, to.pages)
	last := *p.pages[r.at(i+n-1)]
	w.moved(p, r, to, i, n, stay)
	for k := n; k < to.pages; k++ {
		pg := last
		pg.private, pg.values, pg.since, pg.freed, pg.guard, pg.poison = false, nil, 0, false, false, false
		pg.index += k - n + 1
		pg.has, pg.protected = unknown, unknown
		if !p.remaps {
			pg.missing, pg.wp = false, false
		}
		p.pages[to.at(k)] = &pg
	}
}

// movedBefore returns how many of the pages have moved although the call failed: several areas at once move one after the
// other if their size stays the same, and one that is registered with userfaultfd does not move among others.
func (w *world) movedBefore(p *proc, r *region, i, n int, same bool, errno string) int {
	if errno == "EFAULT" && same && w.kernel == "7.2" {
		for k := range n {
			if pg := p.pages[r.at(i+k)]; pg.missing || pg.wp {
				return k
			}
		}
	}
	return 0
}

// moved: the first n pages are in the other region now.
func (w *world) moved(p *proc, r, to *region, i, n int, stay bool) {
	w.lose(p, to, 0, n)
	for k := range n {
		pg := p.pages[r.at(i+k)]
		p.pages[to.at(k)] = pg
		delete(p.pages, r.at(i+k))
		if stay {
			left := *pg
			left.zapped()
			left.guard, left.locked = false, false
			if pg.wp {
				left.protected = unknown
			}
			p.pages[r.at(i+k)] = &left
		}
		if !p.remaps {
			pg.missing, pg.wp, pg.protected = false, false, no
		}
	}
}

// resync looks what is mapped after a call that failed half-way.
func (w *world) resync(p *proc, r *region) {
	for i := range r.pages {
		if _, ok, err := w.e.Area(p.name, r.at(i)); err == nil && !ok {
			delete(p.pages, r.at(i))
		}
	}
}

func (w *world) opRead() {
	p, r := w.proc(), pick(w, "region", w.regions)
	i, n := w.run1(r, 4)
	cpu := w.cpu()
	for k := range n {
		if w.standing.touches(p.pages[r.at(i+k)]) {
			w.skip("somebody is at it")
		}
		w.read(p, r, i+k, cpu)
	}
}

func (w *world) opWrite() {
	p, r := w.proc(), pick(w, "region", w.regions)
	i, n := w.run1(r, 4)
	cpu := w.cpu()
	for k := range n {
		if w.standing.touches(p.pages[r.at(i+k)]) {
			w.skip("somebody is at it")
		}
		w.write(p, r, i+k, cpu)
	}
}

func (w *world) opFork() {
	if len(w.procs) >= 4 {
		w.skip("enough processes")
	}
	p := w.proc()
	w.names++
	s := step(p, "fork")
	s.CPU, s.Op.Name = w.cpu(), fmt.Sprintf("q%d", w.names)
	if out := w.do(s, litmus.Span{}, litmus.Span{}, 0); out.Errno != "" {
		w.fail("fork fails %s", out.Errno)
	}
	c := *p
	c.name, c.pages = s.Op.Name, map[x86.Virt]*mpage{}
	registered := false
	for va, pg := range p.pages {
		if q := pg.fork(p); q != nil {
			c.pages[va] = q
			registered = registered || q.missing || q.wp
			if w.standing != nil && pg == w.standing.page && !pg.shared {
				q.mayBe(w.standing.value)
			}
		}
	}
	if !registered { // then the child has no userfaultfd of its own
		c.uffd, c.async, c.marks, c.forks, c.remaps = false, false, false, false, false
	}
	w.procs = append(w.procs, &c)
}

func (w *world) opExit() {
	if len(w.procs) < 2 {
		w.skip("the last")
	}
	w.exit(w.number("process", 1, len(w.procs)-1))
}

func (w *world) exit(i int) {
	w.do(step(w.procs[i], "exit"), litmus.Span{}, litmus.Span{}, 0)
	w.procs = slices.Delete(w.procs, i, i+1)
}

func (w *world) opDontNeed() {
	p, r, i, n := w.place(1100)
	out := w.advise(p, "dontneed", r, i, n)
	each(p, r, i, n, func(pg *mpage) {
		switch {
		case pg.guard:
		case out.Errno == "":
			pg.zapped()
		default:
			pg.mayBeZapped()
		}
	})
}

func (w *world) opFree() {
	p, r, i, n := w.place(1100)
	poison, fails := false, false
	each(p, r, i, n, func(pg *mpage) { poison, fails = poison || pg.poison, fails || pg.file != nil || pg.locked })
	if poison && fails {
		w.skip("half done")
	}
	w.advise(p, "free", r, i, n)
	each(p, r, i, n, (*mpage).lazilyFreed)
}

func (w *world) opForkAdvice() {
	p, r, i, n := w.place(1100)
	advice := pick(w, "advice", []string{"dontfork", "dofork", "wipeonfork", "keeponfork"})
	if advice == "wipeonfork" {
		all := true
		each(p, r, i, n, func(pg *mpage) { all = all && pg.file == nil })
		if !all {
			w.skip("anonymous memory only")
		}
	}
	if out := w.advise(p, advice, r, i, n); out.Errno != "" {
		w.fail("%s fails %s", advice, out.Errno)
	}
	each(p, r, i, n, func(pg *mpage) {
		switch advice {
		case "dontfork", "dofork":
			pg.dontFork = advice == "dontfork"
		default:
			pg.wipe = advice == "wipeonfork"
		}
	})
}

func (w *world) opGuard() {
	if w.kernel != "7.2" {
		w.skip("no guard pages")
	}
	p, r, i, n := w.place(8)
	install := w.chance("install", 60)
	if !install {
		w.advise(p, "guard-remove", r, i, n)
		each(p, r, i, n, func(pg *mpage) {
			if pg.guard {
				pg.guard = false
				pg.zapped()
				pg.protected = unknown
			}
		})
		return
	}
	out := w.advise(p, "guard-install", r, i, n)
	each(p, r, i, n, func(pg *mpage) {
		if out.Errno != "" {
			if pg.locked {
				return
			}
			w.skip("half done")
		}
		pg.zapped()
		pg.guard = true
	})
}

func (w *world) opRemove() {
	p, r, i, n := w.place(8)
	all := true
	each(p, r, i, n, func(pg *mpage) { all = all && pg.shared && pg.file != nil && pg.file.shmem && pg.w && !pg.locked })
	if !all {
		w.skip("shared memory only")
	}
	if out := w.advise(p, "remove", r, i, n); out.Errno != "" {
		w.fail("remove fails %s", out.Errno)
	}
	each(p, r, i, n, func(pg *mpage) { w.punched(pg.file, pg.index) })
}

// punched: page i of the file is zeros now.
func (w *world) punched(f *mfile, i int) {
	f.set(i, 0)
	for _, p := range w.procs {
		for _, pg := range p.pages {
			if pg.file == f && pg.index == i {
				pg.has, pg.protected = unknown, unknown
				if pg.zero {
					pg.private, pg.zero, pg.since = false, false, len(f.history(i))
				}
			}
		}
	}
	for _, h := range w.handles {
		if h.file == f && h.index == i {
			h.file = nil
		}
	}
}

func (w *world) opFileWrite() {
	f := pick(w, "file", w.files)
	i := w.number("index", 0, f.pages-1)
	w.last = w.last%250 + 1
	s := step(nil, "file-write")
	s.Op.Name, s.Op.Count, s.Op.Options = f.name, i, []litmus.Option{optN("=", uint64(w.last))}
	if len(w.procs) > 0 {
		s.Process = w.procs[0].name
	}
	if out := w.do(s, litmus.Span{}, litmus.Span{}, 0); out.Errno != "" {
		w.fail("file-write fails %s", out.Errno)
	}
	f.set(i, w.last)
}

func (w *world) opPunch() {
	f := pick(w, "file", w.files)
	i := w.number("index", 0, f.pages-1)
	n := w.number("pages", 1, f.pages-i)
	s := step(nil, "punch")
	s.Op.Name, s.Op.Count, s.Op.Options = f.name, i, []litmus.Option{optN("pages", uint64(n))}
	if out := w.do(s, litmus.Span{}, litmus.Span{}, 0); out.Errno != "" {
		w.fail("punch fails %s", out.Errno)
	}
	for k := range n {
		w.punched(f, i+k)
	}
}
