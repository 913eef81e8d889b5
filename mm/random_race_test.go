package mm_test

import (
	"slices"

	"pgregory.net/rapid"

	"ptemu/litmus"
	"ptemu/mm"
)

// skipped ends an operation that is drawn while another one stands.
type skipped struct{}

// skip gives up an operation that makes no sense now.
func (w *world) skip(why string) {
	if w.standing != nil {
		panic(skipped{})
	}
	w.t.Skip(why)
}

// standing is an operation that stands in its middle.
type standing struct {
	cpu   int
	page  *mpage // that it writes; nobody else may touch it meanwhile
	value byte
	file  *mfile // its file, if that is shared
	done  func(out litmus.Outcome)
}

// touches reports that an operation on the page would race with what stands.
func (s *standing) touches(pg *mpage) bool {
	return s != nil && s.page != nil && pg != nil && (pg == s.page || s.file != nil && pg.file == s.file)
}

// pointsOf are the points to which an operation may come.
var pointsOf = map[string][]mm.Point{
	"write":   {mm.PointFault, mm.PointWalked, mm.PointCopied, mm.PointMkWrite},
	"read":    {mm.PointFault, mm.PointWalked},
	"migrate": {mm.PointMigrating, mm.PointMigrated}, "swap-out": {mm.PointUnmapped, mm.PointFlush},
	"numa": {mm.PointFlush}, "clear-refs": {mm.PointFlush}, "uffd-protect": {mm.PointFlush}, "uffd-resolve": {mm.PointFlush},
}

// opRace stops an operation at a point, has other processors do a few things, and lets it go on.
func (w *world) opRace() {
	if w.standing != nil {
		w.skip("one at a time")
	}
	s, at, done, page := w.raceStep()
	s.CPU, s.Start = w.number("cpu", 0, 2), true
	s.Until = pick(w, "point", pointsOf[s.Op.Verb]).String()
	if !w.start(s, at, &standing{cpu: s.CPU, page: page, value: w.last, done: done}) {
		return
	}
	others := []func(){
		w.opRead, w.opWrite, w.opRead, w.opWrite, w.opQuiet, w.opSwapOut, w.opMachine, w.opDontNeed, w.opUnmap, w.opFork, w.opUffdProtect,
		w.opUffdResolve, w.opHold, w.opScan, w.opFree, w.opProtect, w.opPopulate,
	}
	for range w.number("others", 1, 4) {
		w.other(pick(w, "other", others))
	}
	w.finish()
}

// other does one operation while another one stands.
func (w *world) other(f func()) {
	defer func() {
		if v := recover(); v != nil {
			if _, ok := v.(skipped); !ok {
				panic(v)
			}
		}
	}()
	f()
}

// raceStep draws the operation that is to stand, and what its end means.
func (w *world) raceStep() (s litmus.Step, at litmus.Span, done func(litmus.Outcome), page *mpage) {
	what := pick(w, "what", []string{"write", "write", "migrate", "swap-out", "numa", "clear-refs", "uffd-protect", "uffd-resolve", "read"})
	p, r, i, n := w.place(16)
	s, done = step(p, what), func(litmus.Outcome) {}
	switch what {
	case "write":
		n, page = 1, p.pages[r.at(i)]
		w.last = w.last%250 + 1
		v, want := w.last, page.outcomes(p, true)
		s.Op.Options = []litmus.Option{optN("=", uint64(v))}
		done = func(out litmus.Outcome) {
			if want = append(want, page.outcomes(p, true)...); !slices.Contains(want, out.Faults) {
				w.fail("the write ends %q, the model says %q", out.Faults, want)
			}
			switch {
			case out.Faults == "":
				page.set(v)
				page.protected = no
				w.touched(p, r, i)
			case out.Faults == "uffd-wp" && page != nil:
				page.refused()
			}
		}
	case "read":
		n = 1
		done = func(out litmus.Outcome) { w.unsure(p, r, i, n) }
	case "clear-refs":
		s.Op.Options = []litmus.Option{opt("soft-dirty")}
		return s, litmus.Span{}, done, nil
	case "uffd-protect", "uffd-resolve":
		if !p.uffd {
			w.skip("no userfaultfd")
		}
		unsure := func(litmus.Outcome) {
			each(p, r, i, n, func(pg *mpage) {
				if pg.wp {
					pg.protected = unknown
				}
			})
		}
		unsure(litmus.Outcome{})
		done = unsure
	}
	if what != "write" {
		end := done
		done = func(out litmus.Outcome) {
			end(out)
			w.unsure(p, r, i, n)
		}
		w.unsure(p, r, i, n)
	}
	s.Op.At = pagesOf(r, i, n)
	return s, spanOf(r, i, n), done, page
}

// start begins the step, and reports whether it stands at its point. If not, it has ended.
func (w *world) start(s litmus.Step, at litmus.Span, st *standing) bool {
	if st.page != nil && st.page.shared {
		st.file = st.page.file
	}
	c := &litmus.Call{CPU: s.CPU, Process: s.Proc(), Op: &s.Op, At: at}
	stopped, out, err := w.e.Start(c, s.Until)
	if err != nil {
		w.fail("%v: %v", s.String(), err)
	}
	if !stopped {
		s.Start, s.Until = false, ""
		s.Faults, s.Fails = out.Faults, out.Errno
		w.prog.Steps = append(w.prog.Steps, s)
		w.ended(out, st)
		return false
	}
	w.prog.Steps = append(w.prog.Steps, s)
	w.began = len(w.prog.Steps) - 1
	w.standing = st
	return true
}

// finish lets what stands go on to its end.
func (w *world) finish() {
	st := w.standing
	s := step(nil, "finish")
	s.CPU = st.cpu
	w.prog.Steps = append(w.prog.Steps, s)
	_, out, err := w.e.Continue(st.cpu, "")
	if err != nil {
		w.fail("finish: %v", err)
	}
	begun := &w.prog.Steps[w.began]
	begun.Faults, begun.Fails = out.Faults, out.Errno
	w.standing = nil
	w.ended(out, st)
}

func (w *world) ended(out litmus.Outcome, st *standing) {
	if out.Err != nil || out.Wrong != "" {
		w.fail("%v %s", out.Err, out.Wrong)
	}
	st.done(out)
	if err := w.e.Machine().Check(); err != nil {
		w.fail("after the last step: %v", err)
	}
}

// freeCPU draws a processor that does not stand.
func (w *world) freeCPU() int {
	if w.standing == nil {
		return rapid.IntRange(0, 3).Draw(w.t, "cpu") - 1
	}
	return (w.standing.cpu + rapid.IntRange(1, 2).Draw(w.t, "cpu")) % 3
}
