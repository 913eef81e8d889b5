package mm_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ptemu/arch/x86"
	"ptemu/litmus"
)

// randomPolicy: go test ./mm -run TestRandom -policy reuse-by-mapcount must fail, and so with other names of
// mm.HistoricPolicies.
var randomPolicy = flag.String("policy", "", "historic policy for TestRandom, to see it fail")

// TestRandom runs random programs on all releases, with small pages, huge pages and large folios. After every operation
// [mm.Machine.Check] must find nothing, and every read must give what the model of memory says. What fails is reduced
// and printed as a litmus file.
//
// For a long run: go test ./mm -run TestRandom -rapid.checks 10000 -rapid.steps 60
func TestRandom(t *testing.T) {
	setFlag(t, "rapid.nofailfile", "true")
	if checks := flag.Lookup("rapid.checks").Value.String(); checks == "100" { // not asked for
		n := "50"
		if testing.Short() {
			n = "12"
		}
		setFlag(t, "rapid.checks", n)
	}
	for _, kernel := range litmus.Kernels() {
		for _, c := range randomMachines {
			t.Run(kernel+"/"+c.name, func(t *testing.T) {
				ran, stood := 0, 0
				rapid.Check(t, func(t *rapid.T) {
					prog := randomProgram(t, kernel, c.options)
					ran += len(prog.Steps)
					for _, s := range prog.Steps {
						if s.Op.Verb == "finish" {
							stood++
						}
					}
				})
				t.Logf("%d operations, %d of them stopped in their middle", ran, stood)
			})
		}
	}
}

// setFlag sets a flag for the test.
func setFlag(t *testing.T, name, value string) {
	t.Helper()
	was := flag.Lookup(name).Value.String()
	must(t, flag.Set(name, value))
	t.Cleanup(func() { must(t, flag.Set(name, was)) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var randomMachines = []struct {
	name    string
	options []litmus.Option
}{
	{"small", []litmus.Option{optN("cpus", 3), optN("frames", 4096)}},
	{"huge", []litmus.Option{optN("cpus", 3), optN("frames", 12288), opt("huge-pages")}},
	{"folios", []litmus.Option{optN("cpus", 3), optN("frames", 16384), optN("orders", 1<<2|1<<4), optN("shmem-order", 2)}},
}

// world is a random program under way: the machine, the model, and the steps so far.
type world struct {
	t       *rapid.T
	e       *litmus.Emulator
	prog    *litmus.Program
	kernel  string
	around  bool // a touch may populate neighbours too
	big     bool // regions of huge pages
	procs   []*proc
	regions []*region
	files   []*mfile
	handles []*handle
	next    x86.Virt
	last    byte // value written
	recent  []spot
	// standing is an operation that stands in its middle, begun by step began; nil: none does.
	standing *standing
	began    int
	names    int
}

// randomProgram draws a program and runs it.
func randomProgram(t *rapid.T, kernel string, machine []litmus.Option) *litmus.Program {
	prog := &litmus.Program{Title: "found by TestRandom", Kernels: litmus.Cond{{Name: kernel}}, Machine: machine}
	e, err := litmus.NewEmulator(prog, kernel, *randomPolicy)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, e: e, prog: prog, kernel: kernel, next: 0x10000000, procs: []*proc{{name: litmus.DefaultProcess, pages: map[x86.Virt]*mpage{}}},
	}
	for _, o := range machine {
		w.big = w.big || o.Name == "huge-pages"
		w.around = w.around || o.Name == "huge-pages" || o.Name == "orders"
	}
	defer w.close()
	w.begin()
	t.Repeat(w.actions())
	w.end()
	return prog
}

func (w *world) close() {
	if err := w.e.Close(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), w.prog)
}

// do carries out a step, checks the machine, and returns what came of it.
func (w *world) do(s litmus.Step, at, to litmus.Span, newRegion x86.Virt) litmus.Outcome {
	w.t.Helper()
	w.prog.Steps = append(w.prog.Steps, s)
	c := &litmus.Call{CPU: s.CPU, Process: s.Proc(), Op: &s.Op, At: at, To: to, New: newRegion}
	out := w.run(c)
	mine := &w.prog.Steps[len(w.prog.Steps)-1]
	mine.Faults, mine.Fails = out.Faults, out.Errno
	if out.Err != nil || out.Wrong != "" {
		w.fail("%v %s", out.Err, out.Wrong)
	}
	if err := w.e.Machine().Check(); err != nil {
		w.fail("after the last step: %v", err)
	}
	return out
}

func (w *world) run(c *litmus.Call) (out litmus.Outcome) {
	defer func() {
		if v := recover(); v != nil {
			out.Err = fmt.Errorf("the machine panics: %v", v)
		}
	}()
	return w.e.Do(c)
}

// begin makes a file of each kind, and a first area.
func (w *world) begin() {
	for _, f := range []struct {
		name string
		opts []litmus.Option
	}{{"mem", []litmus.Option{opt("shmem")}}, {"disk", []litmus.Option{opt("disk"), opt("mkwrite")}}} {
		s := step(nil, "file")
		s.Op.Name, s.Op.Count, s.Op.Options = f.name, 6, f.opts
		w.do(s, litmus.Span{}, litmus.Span{}, 0)
		w.files = append(w.files, &mfile{name: f.name, pages: 6, shmem: f.name == "mem", was: map[int][]byte{}})
	}
	w.mapRegion()
	if w.chance("registered at once", 50) {
		w.registerPages(w.procs[0], w.regions[0], 0, w.regions[0].pages)
	}
}

// end reads all memory, and ends all processes.
func (w *world) end() {
	for _, p := range w.procs {
		for _, r := range w.regions {
			for i := range min(r.pages, 24) {
				if p.pages[r.at(i)] != nil {
					w.read(p, r, i, litmus.NoCPU)
				}
			}
		}
	}
	for len(w.handles) > 0 {
		w.release(0)
	}
	for len(w.procs) > 0 {
		w.exit(len(w.procs) - 1)
	}
}

// read reads one page, and compares.
func (w *world) read(p *proc, r *region, i, cpu int) {
	w.t.Helper()
	pg := p.pages[r.at(i)]
	s := step(p, "read")
	s.CPU, s.Op.At = cpu, pagesOf(r, i, 1)
	want := pg.outcomes(p, false)
	exact := pg != nil && slices.Contains(want, "") && len(slices.Compact(slices.Clone(pg.may()))) == 1
	if exact {
		s.Op.Options = []litmus.Option{optN("=", uint64(pg.may()[0]))}
	}
	out := w.do(s, spanOf(r, i, 1), litmus.Span{}, 0)
	if !slices.Contains(want, out.Faults) {
		w.fail("the read ends %q, the model says %q", out.Faults, want)
	}
	if out.Faults != "" {
		return
	}
	w.touched(p, r, i)
	if exact {
		return
	}
	e, err := w.e.Entry(p.name, r.at(i))
	if err != nil || e.Page == nil || !e.Page.Uniform || !slices.Contains(pg.may(), e.Page.Contents) {
		w.fail("the page contains %+v, the model says one of %v (%v)", e.Page, pg.may(), err)
	}
}

// write writes one page.
func (w *world) write(p *proc, r *region, i, cpu int) {
	w.t.Helper()
	pg := p.pages[r.at(i)]
	w.last = w.last%250 + 1
	s := step(p, "write")
	s.CPU, s.Op.At, s.Op.Options = cpu, pagesOf(r, i, 1), []litmus.Option{optN("=", uint64(w.last))}
	want := pg.outcomes(p, true)
	out := w.do(s, spanOf(r, i, 1), litmus.Span{}, 0)
	if !slices.Contains(want, out.Faults) {
		w.fail("the write ends %q, the model says %q", out.Faults, want)
	}
	switch out.Faults {
	case "":
		pg.set(w.last)
		pg.protected = no
		w.touched(p, r, i)
	case "uffd-wp":
		pg.refused()
	}
}

// touched: the page is there now, and perhaps others around it.
func (w *world) touched(p *proc, r *region, i int) {
	if w.recent = append(w.recent, spot{p, r, i}); len(w.recent) > 5 {
		w.recent = w.recent[1:]
	}
	pg := p.pages[r.at(i)]
	if pg.file != nil {
		pg.has = unknown // what a file has may go
	} else {
		pg.has = yes
	}
	if pg.freed {
		pg.has = unknown
	}
	if w.around {
		w.neighbours(p, r, i)
	}
}

// neighbours: whether the other pages of the 2 MiB are there is not known any more.
func (w *world) neighbours(p *proc, r *region, i int) {
	first := r.at(i) &^ x86.Virt(x86.LevelPMD.Size()-1)
	for n := range x86.Virt(x86.EntriesPerTable) {
		if o := p.pages[first+n*x86.PageSize]; o != nil && o.has == no {
			o.has = unknown
		}
	}
}
