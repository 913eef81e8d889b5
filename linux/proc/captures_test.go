package proc

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

var wholeCaptures = []string{"linux-6.1-4level", "linux-7.2-4level"}

// smapsOf reads what a guest printed of the areas of process 1: the heads with one blank between words, and the flags.
func smapsOf(t testing.TB, path string) (heads, flags []string) {
	eachLine(t, path, func(line string) {
		line, ok := strings.CutPrefix(line, "S ")
		if !ok {
			return
		}
		if isHead(line) {
			heads = append(heads, strings.Join(strings.Fields(line), " "))
		} else if f, ok := strings.CutPrefix(line, "VmFlags:"); ok {
			flags = append(flags, strings.TrimSpace(f))
		}
	})
	return heads, flags
}

// TestWholeCaptures compares the areas of process 1, and of its child, with what the kernel printed of them.
func TestWholeCaptures(t *testing.T) {
	for _, dir := range wholeCaptures {
		t.Run(dir, func(t *testing.T) {
			m := openMachine(t, sharedCapture(t, dir, "full.kdump-zlib"))
			log := sharedCapture(t, dir, "guest.log.gz")
			start := time.Now()
			p := m.find(t, Options{})
			t.Logf("%d processes in %v; %v", len(p.List), time.Since(start), p.Facts)
			heads, flags := smapsOf(t, log)
			initial := withPID(t, p, 1)
			if initial.Comm != "init" || initial.MM == nil || initial.MM.AreasErr != "" || len(heads) != len(flags) {
				t.Fatalf("process 1: %+v; %d heads, %d lines of flags", initial, len(heads), len(flags))
			}
			if r, err := m.sys.Root(0); err != nil || initial.MM.Roots.Kernel != r.Kernel {
				t.Errorf("root %v, the processor has %v", initial.MM.Roots.Kernel, r.Kernel)
			}
			areas := initial.MM.Areas
			if len(areas) != len(heads) || len(areas) < 100 {
				t.Fatalf("%d areas, the guest printed %d", len(areas), len(heads))
			}
			for i := range areas {
				if got := headLine(p, &areas[i]); got != heads[i] {
					t.Errorf("got  %s\nwant %s", got, heads[i])
				}
				if got := strings.Join(p.FlagNames(areas[i].Flags), " "); got != flags[i] {
					t.Errorf("%s: flags %q, want %q", heads[i], got, flags[i])
				}
			}
			checkChild(t, p, initial, log)
		})
	}
}

// checkChild looks at the process that process 1 forked, and at the kernel threads.
func checkChild(t *testing.T, p *Processes, parent *Process, log string) {
	t.Helper()
	child := 0
	eachLine(t, log, func(line string) {
		if w := strings.Fields(line); len(w) == 2 && w[0] == "CHILD" {
			for _, q := range p.List {
				if q.PPID == parent.PID {
					child = q.PID
				}
			}
		}
	})
	c := withPID(t, p, child)
	if c.Comm != "init" || c.Kernel || c.MM == nil || len(c.MM.Areas) != len(parent.MM.Areas) || c.MM.Roots == parent.MM.Roots {
		t.Errorf("child: %+v", c)
	}
	threads := 0
	for i, q := range p.List {
		if i > 0 && q.PID <= p.List[i-1].PID {
			t.Errorf("PID %d after %d", q.PID, p.List[i-1].PID)
		}
		if q.Kernel {
			threads++
		}
		if q.Kernel != (q.MM == nil) || q.Kernel && q.PPID != 2 && q.PID != 2 || q.TGID != q.PID {
			t.Errorf("process: %+v", q)
		}
	}
	if d := withPID(t, p, 2); d.Comm != "kthreadd" || threads < 40 || threads != len(p.List)-2 {
		t.Errorf("%d kernel threads of %d; process 2: %+v", threads, len(p.List), d)
	}
}

// TestWaysToInitTask finds the same list by each way alone.
func TestWaysToInitTask(t *testing.T) {
	for _, dir := range wholeCaptures {
		t.Run(dir, func(t *testing.T) {
			m := openMachine(t, sharedCapture(t, dir, "full.kdump-zlib"))
			want := m.find(t, Options{})
			f := newFinder(context.Background(), m.Mem, m.sys, Options{CPUs: m.cpus})
			if err := f.ready(); err != nil {
				t.Fatal(err)
			}
			init, ok := f.symbol("init_task")
			if !ok {
				t.Fatal("no init_task")
			}
			if task, ok := f.exported("init_task"); !ok || task != init {
				t.Errorf("export table: %v, %v; want %v", task, ok, init)
			}
			ran := f.running()
			good := 0
			for _, c := range ran {
				if f.ancestor(c.task) == init {
					good++
				}
			}
			if good == 0 {
				t.Errorf("what the processors ran: %v", ran)
			}
			image, err := f.mem.Phys(m.sys.Layout.TextFirst)
			if err != nil {
				t.Fatal(err)
			}
			f.phys = part{m.Mem, physmem.Range{Start: image, End: image + 64<<20}} // all of RAM takes long
			found := false
			for _, task := range f.idleTasks() {
				found = found || task == init
			}
			if !found {
				t.Errorf("swapper/0: not found at %v", init)
			}
			_, blob, err := f.symbolTypes()
			if err != nil {
				t.Fatal(err)
			}
			f.types = nil
			if !f.typesInImage() {
				t.Error("types not found in the image")
			}
			f.types = nil
			if err := f.typesInRAM(); err != nil {
				t.Errorf("types in RAM: %v", err)
			}
			t.Log(f.out.Facts, blob)
			roots := m.find(t, Options{RootsOnly: true})
			byRoot := map[x86.Phys]bool{}
			for _, p := range roots.List {
				byRoot[p.MM.Roots.Kernel] = true
				if p.PID != -1 || p.Comm != "" || len(p.MM.Areas) > 0 {
					t.Errorf("%+v", p)
				}
			}
			spaces := 0
			for _, p := range want.List {
				if p.MM == nil {
					continue
				}
				if spaces++; !byRoot[p.MM.Roots.Kernel] {
					t.Errorf("root %v of process %d was not found by its looks", p.MM.Roots.Kernel, p.PID)
				}
			}
			poking, ok := f.pokingRoot()
			if !byRoot[poking] || !ok || len(byRoot) != spaces+1 {
				t.Errorf("%d roots found by their looks, %d address spaces and the one at %v for changing code", len(byRoot), spaces, poking)
			}
		})
	}
}

// part is memory of which no more than a part is searched.
type part struct {
	physmem.Reader
	only physmem.Range
}

func (p part) Ranges() []physmem.Range { return []physmem.Range{p.only} }

// TestNoSymbols hides the note that leads to the symbols.
func TestNoSymbols(t *testing.T) {
	for _, dir := range wholeCaptures {
		t.Run(dir, func(t *testing.T) {
			m := openMachine(t, sharedCapture(t, dir, "full.kdump-zlib"))
			want := m.find(t, Options{})
			sys := *m.sys
			sys.VMCoreInfo = nil
			got, err := Find(context.Background(), m.Mem, &sys, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.List) != len(want.List) {
				t.Errorf("%d processes, want %d", len(got.List), len(want.List))
			}
			t.Log(got.Facts, got.Warnings)
		})
	}
}

// TestCancel: a search that is told to end does.
func TestCancel(t *testing.T) {
	m := openMachine(t, sharedCapture(t, wholeCaptures[1], "full.kdump-zlib"))
	for _, only := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		mem := &countdown{Reader: m.Mem, cancel: cancel}
		mem.left.Store(200)
		p, err := Find(ctx, mem, m.sys, Options{RootsOnly: only})
		if p != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("roots only %v: %v, %v", only, p, err)
		}
	}
}

// countdown ends a search after some reads.
type countdown struct {
	physmem.Reader
	cancel context.CancelFunc
	left   atomic.Int64
}

func (c *countdown) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Reader.ReadFrame(pfn, dst)
}
