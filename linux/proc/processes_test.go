package proc

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ptemu/arch/x86"
)

// told is what a guest printed of one process.
type told struct {
	pid, tgid, ppid int
	comm            string
	kernel          bool
	threads         []string
	heads, flags    []string
}

// tellings reads the processes of a guest's log: "P pid tgid ppid state kernel|user comm", and behind each its threads "T
// pid comm" and the lines of its smaps, "A ...".
func tellings(t testing.TB, path string) []*told {
	var all []*told
	quoted := func(s string) string {
		u, err := strconv.Unquote(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return u
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	eachLine(t, path, func(line string) {
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "P":
			w := strings.SplitN(rest, " ", 6)
			all = append(all, &told{pid: number(w[0]), tgid: number(w[1]), ppid: number(w[2]), kernel: w[4] == "kernel", comm: quoted(w[5])})
		case "T":
			w := strings.SplitN(rest, " ", 2)
			p := all[len(all)-1]
			p.threads = append(p.threads, w[0]+" "+quoted(w[1]))
		case "A":
			p := all[len(all)-1]
			if isHead(rest) {
				p.heads = append(p.heads, strings.TrimSpace(oneBlank(rest)))
			} else if f, ok := strings.CutPrefix(rest, "VmFlags:"); ok {
				p.flags = append(p.flags, strings.TrimSpace(f))
			}
		}
	})
	return all
}

// oneBlank leaves one blank between the first words of a line of maps, and all blanks in the path.
func oneBlank(s string) string {
	var words []string
	for range 5 {
		w, rest, _ := strings.Cut(strings.TrimLeft(s, " "), " ")
		words, s = append(words, w), rest
	}
	return strings.Join(append(words, strings.TrimLeft(s, " ")), " ")
}

// TestProcesses compares all processes of captures of whole guests with what each guest printed of them. The folders
// are those below the ones in PTEMU_CAPTURES that hold a list of processes.
func TestProcesses(t *testing.T) {
	found := false
	for _, root := range filepath.SplitList(os.Getenv("PTEMU_CAPTURES")) {
		dirs, _ := filepath.Glob(filepath.Join(root, "procs-*", "guest.log.gz"))
		for _, log := range dirs {
			for _, name := range []string{"full.elf", "full.kdump", "filtered.kdump"} {
				dir := filepath.Dir(log)
				if _, err := os.Stat(filepath.Join(dir, name)); err != nil || strings.HasSuffix(dir, ".new") {
					continue
				}
				found = true
				t.Run(filepath.Base(dir)+"/"+name, func(t *testing.T) {
					if name == "filtered.kdump" {
						compareFiltered(t, filepath.Join(dir, name), filepath.Join(dir, "full.elf"))
					} else {
						compareAll(t, filepath.Join(dir, name), tellings(t, log))
					}
				})
			}
		}
	}
	if !found {
		t.Skip("no folder of PTEMU_CAPTURES holds procs-*/guest.log.gz")
	}
}

func compareAll(t *testing.T, path string, want []*told) {
	m := openMachine(t, path)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	p := m.find(t, Options{CPUs: m.cpus})
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	areas, flags := 0, 0
	pids := map[int]bool{}
	for _, w := range want {
		pids[w.pid] = true
		if !slices.ContainsFunc(p.List, func(q *Process) bool { return q.PID == w.pid }) && strings.HasPrefix(w.comm, "kworker/") {
			t.Logf("%s has ended since the guest printed it", w.comm)
			continue
		}
		q := withPID(t, p, w.pid)
		if q.TGID != w.tgid || q.PPID != w.ppid || q.Kernel != w.kernel || steadyName(q.Comm) != steadyName(w.comm) {
			t.Errorf("got %s\nwant %+v", describe(q), w)
		}
		compareThreads(t, q, w)
		var got []VMA
		if q.MM != nil {
			if got = q.MM.Areas; q.MM.AreasErr != "" {
				t.Errorf("process %d: %s", q.PID, q.MM.AreasErr)
			}
		}
		heads := slices.DeleteFunc(slices.Clone(w.heads), func(s string) bool { return strings.HasSuffix(s, "[vsyscall]") })
		if len(got) != len(heads) {
			t.Errorf("process %d %q: %d areas, want %d", q.PID, q.Comm, len(got), len(heads))
			continue
		}
		for i := range got {
			areas++
			if line := headLine(p, &got[i]); line != heads[i] {
				t.Errorf("process %d %q\ngot  %s\nwant %s", q.PID, q.Comm, line, heads[i])
			}
			if f := strings.Join(p.FlagNames(got[i].Flags), " "); f != w.flags[i] {
				t.Errorf("process %d %q, %s: flags %q, want %q", q.PID, q.Comm, heads[i], f, w.flags[i])
			}
			flags += len(strings.Fields(w.flags[i]))
		}
	}
	for _, q := range p.List {
		if !pids[q.PID] && strings.HasPrefix(q.Comm, "kworker/") {
			t.Logf("%s began after the guest had printed the others", q.Comm)
		} else if !pids[q.PID] {
			t.Errorf("the guest did not print process %s", describe(q))
		}
	}
	for _, c := range m.sys.CPUs {
		on := slices.ContainsFunc(p.List, func(q *Process) bool {
			return q.MM != nil && q.MM.Roots.Kernel == c.Kernel && q.MM.Roots.User == c.User && q.MM.Roots.PTI == c.PTI
		})
		if !on && c.Kernel != m.sys.InitMM.Kernel {
			t.Errorf("CPU %d runs on %v, no process does", c.CPU, c.Kernel)
		}
	}
	t.Logf("%d processes, %d areas, %d flags in %v, %d MB allocated", len(p.List), areas, flags, took, (after.TotalAlloc-before.TotalAlloc)>>20)
}

// compareFiltered compares a capture without user pages with the whole. The program that filters may be older than the
// kernel, and then leaves memory of the kernel out too: what is missing is said, what is there is the same, and the
// root tables are all found.
func compareFiltered(t *testing.T, path, whole string) {
	m := openMachine(t, path)
	p, err := Find(t.Context(), m.Mem, m.sys, Options{CPUs: m.cpus})
	if err != nil {
		t.Fatal(err)
	}
	all := openMachine(t, whole).find(t, Options{})
	roots := map[x86.Phys]bool{}
	missing := len(p.List) < len(all.List)
	for _, q := range p.List {
		if q.MM != nil {
			roots[q.MM.Roots.Kernel] = true
		}
		if q.PID < 0 {
			continue
		}
		w := withPID(t, all, q.PID)
		if q.Task != w.Task || q.Kernel != w.Kernel || q.MM != nil && q.MM.AreasErr == "" && len(q.MM.Areas) != len(w.MM.Areas) {
			t.Errorf("%s, want %s", describe(q), describe(w))
		}
		missing = missing || describe(q) != describe(w)
	}
	for _, w := range all.List {
		if w.MM != nil && !roots[w.MM.Roots.Kernel] {
			t.Errorf("root %v of process %d is missing", w.MM.Roots.Kernel, w.PID)
		}
	}
	if missing && len(p.Warnings) == 0 {
		t.Error("processes are missing, and nothing is said")
	}
	t.Logf("%d entries, %d warnings; the whole capture has %d", len(p.List), len(p.Warnings), len(all.List))
}

// steadyName returns a name without what a worker of a workqueue did last: it may have worked since the guest printed it.
func steadyName(s string) string {
	rest, ok := strings.CutPrefix(s, "kworker/")
	if !ok || strings.HasPrefix(rest, "R-") {
		return s
	}
	if i := strings.IndexAny(rest, "+-"); i >= 0 {
		rest = rest[:i]
	}
	return "kworker/" + rest
}

func compareThreads(t *testing.T, q *Process, w *told) {
	t.Helper()
	var got []string
	for _, o := range q.Threads {
		got = append(got, strconv.Itoa(o.PID)+" "+o.Comm)
	}
	want := slices.DeleteFunc(slices.Clone(w.threads), func(s string) bool { return strings.HasPrefix(s, strconv.Itoa(w.pid)+" ") })
	slices.Sort(got)
	slices.Sort(want) // the kernel lists them in the order in which they were linked
	if !slices.Equal(got, want) {
		t.Errorf("process %d %q: threads %q, want %q", q.PID, q.Comm, got, want)
	}
}
