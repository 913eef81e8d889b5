package litmus

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"ptemu/arch/x86"
	"ptemu/arch/x86/mmu"
	"ptemu/mm"
	"ptemu/pgtable"
)

// Trace runs the program on e, which is fresh, and writes what each step does: the entries that change, what the processors
// are told, and who still owes it to them. With allPoints, points that every access passes are shown, too.
func Trace(w io.Writer, p *Program, e *Emulator, on RunOn, allPoints bool) (Result, error) {
	out := bufio.NewWriter(w)
	t := &tracer{w: out, e: e, d: newDecoder(e.ABI()), places: p.Places(), owed: map[int]string{}, allPoints: allPoints}
	e.Watch(t.event)
	defer e.Watch(nil)
	t.last = t.snapshot()
	r := Run(p, e, on.Kernel, on.Policy, Observer{Before: t.before, After: t.after})
	switch r.Verdict {
	case NotHere:
		fmt.Fprintf(out, "n/a on %s: %s\n", r.On(), r.Reason)
	case Fail:
		for i := range r.Failures {
			fmt.Fprintf(out, "FAIL %v\n", &r.Failures[i])
		}
	default:
		fmt.Fprintf(out, "pass on %s\n", r.On())
	}
	return r, out.Flush()
}

type tracer struct {
	w         io.Writer
	e         *Emulator
	d         *decoder
	places    map[string]Span
	last      map[slotKey]uint64
	owed      map[int]string // by processor
	allPoints bool
	stood     string // what was printed last of that
}

func (t *tracer) before(s *Step) {
	fmt.Fprintf(t.w, "%4d  %s\n", s.Pos.Line, s)
}

// event is told to the reader at once, so that it stands where it happens.
func (t *tracer) event(ev mm.Event) {
	p := t.processOf(ev.Tree)
	switch ev.Kind {
	case mm.EventFault:
		what := "reads"
		if ev.Write {
			what = "writes"
		}
		fmt.Fprintf(t.w, "      fault   cpu%d %s %s: %s\n", ev.CPU, what, p, t.place(ev.VA))
	case mm.EventGate:
		what := "refuses"
		if ev.Gate.Allowed {
			what = "allows"
		}
		fmt.Fprintf(t.w, "      gate    %s the write bit (%v) of %s: %s\n", what, ev.Gate.Gain, p, t.place(ev.VA))
	case mm.EventPoint:
		if t.allPoints || ev.Point != mm.PointWalked && ev.Point != mm.PointFault {
			fmt.Fprintf(t.w, "      point   cpu%d %v\n", ev.CPU, ev.Point)
		}
		if ev.Point != mm.PointFlush {
			delete(t.owed, ev.CPU)
		}
	case mm.EventOwed:
		t.owed[ev.CPU] = p + ": " + t.flush(ev.Flush)
	case mm.EventFlush:
		fmt.Fprintf(t.w, "      flush   %s: %s\n", p, t.flush(ev.Flush))
	}
}

func (t *tracer) processOf(tree *pgtable.Tree) string {
	for name, p := range t.e.spaces {
		if p.space.Tree() == tree {
			return name
		}
	}
	return "a process that goes"
}

// flush puts what processors are to forget into words.
func (t *tracer) flush(f pgtable.Flush) string {
	if f.All {
		return "everything"
	}
	s := t.place(f.First)
	if last := t.place(f.Last); last != s {
		s += " to " + last
	}
	var levels []string
	for l := x86.LevelPTE; l <= x86.LevelPUD; l++ {
		if f.Levels>>l&1 != 0 {
			levels = append(levels, l.String())
		}
	}
	if f.FreedTables {
		levels = append(levels, "tables")
	}
	return fmt.Sprintf("%s (%s)", s, strings.Join(levels, ", "))
}

// place names an address by its region.
func (t *tracer) place(va x86.Virt) string {
	for _, name := range slices.Sorted(maps.Keys(t.places)) {
		if s := t.places[name]; va >= s.VA && va < s.VA+x86.Virt(s.Bytes()) {
			return fmt.Sprintf("%s %d", name, (va-s.VA)/x86.PageSize)
		}
	}
	return va.String()
}

func (t *tracer) after(*Step) {
	now := t.snapshot()
	keys := map[slotKey]bool{}
	for _, m := range []map[slotKey]uint64{t.last, now} {
		for k := range m {
			if t.last[k] != now[k] {
				keys[k] = true
			}
		}
	}
	order := slices.SortedFunc(maps.Keys(keys), func(a, b slotKey) int {
		if c := strings.Compare(a.process, b.process); c != 0 {
			return c
		}
		if a.va != b.va {
			return int(int64(a.va)-int64(b.va)) | 1
		}
		return int(b.level) - int(a.level)
	})
	for len(order) > 0 {
		n := t.alike(order, now)
		t.change(order[:n], now)
		order = order[n:]
	}
	t.last = now
	t.standing()
}

// standing prints what stands in the middle, which flushes are owed, and what processors remember wrongly, when that is
// not what it was after the step before.
func (t *tracer) standing() {
	var b strings.Builder
	for _, cpu := range slices.Sorted(maps.Keys(t.e.tasks)) {
		task := t.e.tasks[cpu].task
		fmt.Fprintf(&b, "      stands  cpu%d at %v", cpu, task.At())
		if what := t.owed[cpu]; what != "" && task.At() == mm.PointFlush {
			b.WriteString(", and owes a flush of " + what)
		}
		b.WriteByte('\n')
	}
	for _, name := range t.e.Processes() {
		s := t.e.spaces[name].space
		if s.FlushPending() {
			fmt.Fprintf(&b, "      pending %s owes its processors a flush\n", name)
		}
		t.stale(&b, name, s)
	}
	if t.stood != b.String() {
		t.stood = b.String()
		io.WriteString(t.w, t.stood)
	}
}

// stale prints what processors remember of a process that its tables do not say any more.
func (t *tracer) stale(w io.Writer, name string, s *mm.Space) {
	paging := t.e.ABI().Paging()
	u, err := mmu.New(mmu.LinuxRegs(uint64(s.Tree().Root().Phys()), int(paging.Levels)), paging)
	if err != nil {
		return
	}
	for i := range t.e.m.CPUs() {
		t.e.m.CPU(i).Cached(s, func(c mmu.Cached) bool {
			if how := u.Compare(s.Tree().Memory(), c); how != 0 {
				fmt.Fprintf(w, "      stale   cpu%d remembers %s: %s as it was: %v\n", i, name, t.place(c.VA), how)
			}
			return true
		})
	}
}
