package ptdump

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/ps"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/usage"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/linux/proc"
	"ptemu/physmem"
)

// eachProcessCapture runs test for every dump whose guest printed its processes, and says so if there is none.
func eachProcessCapture(t *testing.T, test func(t *testing.T, d *processDump)) {
	folders, err := truth.Folders(capturetest.Repository())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range folders {
		if !f.HasProcesses() {
			continue
		}
		all, err := f.Processes()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(all.List, func(p *truth.Process) bool { return p.HasMM() }) {
			continue // the guest printed no areas: it has too many
		}
		for _, dump := range f.Dumps() {
			if name := filepath.Base(dump); !strings.HasPrefix(name, "full.") || name == "full.elf" && f.Has("full.kdump") {
				continue // without the kernel's memory, or with the same
			}
			n++
			t.Run(f.Name()+"/"+filepath.Base(dump), func(t *testing.T) { test(t, &processDump{path: dump, all: all}) })
		}
	}
	if n == 0 {
		t.Skip("no capture folder whose guest printed its processes: name some in PTEMU_CAPTURES")
	}
}

// placeObject is a place of who as a reader of JSON lines sees it.
type placeObject struct {
	Kind, VA string
	PID      *int
	PFN      *uint64
	Size     uint64
	Swap     *struct {
		Type   uint8
		Offset uint64
	}
}

// psObject is a row as a reader of JSON lines sees it.
type psObject struct {
	PID, TGID, PPID *int
	Comm            string
	Kernel          bool
	Threads         int
	Root            *string
	SharesWith      *int `json:"shares_mm_with"`
	ps.Counts
}

// processDump is a dump with what its guest said. Its processes are looked for once.
type processDump struct {
	path  string
	all   *truth.Processes
	found *proc.Processes
	abi   *x86.ABI // once maps was called
}

func (d *processDump) find(ctx context.Context, mem physmem.Reader, sys *linux.System, opt proc.Options) (*proc.Processes, error) {
	var err error
	if d.found == nil {
		d.found, err = proc.Find(ctx, mem, sys, opt)
	}
	return d.found, err
}

// maps returns what ptdump maps says of every process that has areas, by PID.
func (d *processDump) maps(t *testing.T) map[int][]*ps.Line {
	t.Helper()
	in, err := session.OpenForProcesses(t.Context(), d.path, &session.Options{CPU: -1, Root: session.RootNames[0], Find: d.find})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	d.abi = in.ABI
	spaces, err := in.Processes(t.Context(), proc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := map[int][]*ps.Line{}
	for _, s := range spaces.User {
		m, err := ps.AreasOf(t.Context(), s)
		if err != nil || m.Problems != nil {
			t.Fatal(err, m.Problems)
		}
		for _, p := range s.Procs {
			all[p.PID] = m.Lines(spaces.Procs, p.PID)
		}
	}
	return all
}

// command runs a command that must do its work on the dump, and calls each with every object of its output.
func command[T any](t *testing.T, d *processDump, each func(*T), name string, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	o := &options{stdout: &stdout, stderr: &stderr, find: d.find}
	if code := o.main(t.Context(), append([]string{name, "--format", "jsonl", d.path}, args...)); code != exitOK {
		t.Fatalf("ptdump %s %q: exit %d, %s", name, args, code, stderr.Bytes())
	}
	for dec := json.NewDecoder(&stdout); dec.More(); {
		var v T
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		each(&v)
	}
}

// pageOf is a page of a process.
type pageOf struct {
	pid int
	va  uint64
}

func (p pageOf) String() string { return fmt.Sprintf("page %#x of process %d", p.va, p.pid) }

// pageWords returns the pagemap words of all pages that are present, or swapped in pagemap's sense, by page.
func pageWords(all *truth.Processes) map[pageOf]uint64 {
	words := map[pageOf]uint64{}
	for _, p := range all.List {
		for _, r := range p.Runs {
			for i := uint64(0); r.Word&(truth.PagemapPresent|truth.PagemapSwapped) != 0 && i < r.Pages; i++ {
				word := r.Word
				if word&truth.PagemapPresent != 0 {
					word += i
				}
				words[pageOf{p.PID, r.VA + i*4096}] = word
			}
		}
	}
	return words
}

// compare reports what is in one of two maps, or differs.
func compare[K comparable, V comparable](t *testing.T, what string, got, want map[K]V) {
	t.Helper()
	wrong := 0
	say := func(format string, args ...any) {
		if wrong++; wrong <= 10 {
			t.Errorf(what+": "+format, args...)
		}
	}
	for k, w := range want {
		if g, ok := got[k]; !ok {
			say("%v is missing, want %#v", k, w)
		} else if g != w {
			say("%v: got %#v, want %#v", k, g, w)
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			say("%v: got %#v, want none", k, g)
		}
	}
	if len(want) == 0 {
		t.Errorf("%s: nothing to compare with", what)
	}
	t.Logf("%s: %d compared, %d differences", what, len(want), wrong)
}

// TestPsAgainstProc: the processes are those that the guest printed, and what their tables hold is what its pagemap
// files say. Of areas of devices (VM_PFNMAP) pagemap shows nothing, of hugetlbfs nothing that is not present.
func TestPsAgainstProc(t *testing.T) {
	eachProcessCapture(t, func(t *testing.T, d *processDump) {
		all := d.all
		type figures struct {
			ppid, tgid, threads          int
			kernel, mm                   bool
			resident, uffdWP, notPresent uint64
		}
		got, want := map[int]figures{}, map[int]figures{}
		areas := d.maps(t)
		for _, p := range all.List {
			f := figures{ppid: p.PPID, tgid: p.TGID, threads: 1 + len(p.Threads), kernel: p.Kernel, mm: p.HasMM()}
			for _, r := range p.Runs {
				switch {
				case r.Word&truth.PagemapPresent != 0:
					f.resident += r.Pages
				case r.Word&truth.PagemapSwapped != 0:
					f.notPresent += r.Pages
				}
				if r.Word&truth.PagemapUffdWP != 0 {
					f.uffdWP += r.Pages
				}
			}
			want[p.PID] = f
		}
		command(t, d, func(r *psObject) {
			p := all.ByPID(*r.PID)
			if p == nil || !p.Named(r.Comm) && r.Comm != strings.ToValidUTF8(p.Comm, "\ufffd") && !kworker(r.Comm, p.Comm) {
				t.Errorf("process %d %q: the guest says %+v", *r.PID, r.Comm, p)
				return
			}
			f := figures{ppid: *r.PPID, tgid: *r.TGID, threads: r.Threads, kernel: r.Kernel, mm: r.Root != nil}
			if len(p.Runs) > 0 {
				f.resident, f.uffdWP = r.Resident, r.UffdWP
				f.notPresent = notPresent(&r.Counts)
				for _, l := range areas[p.PID] {
					if slices.Contains(l.Flags, "pf") {
						f.resident -= l.Resident
					}
					if slices.Contains(l.Flags, "ht") {
						f.notPresent -= notPresent(l.Counts)
					}
				}
			}
			got[*r.PID] = f
		}, "ps")
		compare(t, "processes", got, want)
	})
}

func notPresent(c *ps.Counts) uint64 {
	return c.Swapped + c.Migration + c.Device + c.HWPoison + c.Markers + c.Other
}

// kworker reports whether two names are of one worker, which is named for what it works on.
func kworker(a, b string) bool {
	a, _, _ = strings.Cut(a, "-")
	b, _, _ = strings.Cut(b, "-")
	return a == b && strings.HasPrefix(a, "kworker/")
}

// TestWhoAgainstPagemap: who maps which frame is what all pagemap files together say; with --all, how often. Where
// pagemap does not look, in areas of devices, nothing is compared.
func TestWhoAgainstPagemap(t *testing.T) {
	eachProcessCapture(t, func(t *testing.T, d *processDump) {
		second := d.second(t)
		want, got := map[pageOf]uint64{}, map[pageOf]uint64{}
		times, hidden := map[uint64]uint64{}, map[uint64]uint64{}
		for page, w := range pageWords(d.all) {
			if frame := w & truth.PagemapFrame; w&truth.PagemapPresent != 0 {
				want[page] = frame
				if !second[page.pid] {
					times[frame]++
				}
			}
		}
		if len(want) == 0 {
			t.Skip("the guest printed no pagemap")
		}
		command(t, d, func(p *placeObject) {
			if p.PID == nil || p.Kind != "present" && p.Kind != "protnone" {
				return
			}
			for i := range p.Size / 4096 {
				page := pageOf{*p.PID, virt(t, p.VA) + i*4096}
				switch {
				case !d.all.ByPID(page.pid).Area(page.va).Has("pf"):
					got[page] = *p.PFN + i
				case !second[page.pid]:
					hidden[*p.PFN+i]++
				}
			}
		}, "who", "--user", "pfn:0-0x10000000000")
		compare(t, "pages by frame", got, want)

		counted := map[uint64]uint64{}
		command(t, d, func(r *struct{ PFN, Frames, User uint64 }) {
			for i := range r.Frames {
				if n := r.User - hidden[r.PFN+i]; n > 0 {
					counted[r.PFN+i] = n
				}
			}
		}, "who", "--all")
		compare(t, "times that frames are mapped", counted, times)
	})
}

// second returns the processes that share the address space of another before them: --all counts it once.
func (d *processDump) second(t *testing.T) map[int]bool {
	all := map[int]bool{}
	command(t, d, func(r *psObject) {
		if r.SharesWith != nil {
			all[*r.PID] = true
		}
	}, "ps")
	return all
}

// TestWhoSwapAgainstPagemap: the slots that pagemap names have exactly the entries there that it says.
func TestWhoSwapAgainstPagemap(t *testing.T) {
	eachProcessCapture(t, func(t *testing.T, d *processDump) {
		all := d.all
		want, got := map[pageOf]string{}, map[pageOf]string{}
		for page, w := range pageWords(all) {
			// Only types of swap devices; the tables say which those are, so that a wrong one is missed on one side.
			if typ := w & 31; w&(truth.PagemapPresent|truth.PagemapSwapped) == truth.PagemapSwapped && typ < 8 {
				want[page] = fmt.Sprintf("%d:%#x", typ, w&truth.PagemapFrame>>5)
			}
		}
		if len(want) == 0 {
			t.Skip("the guest has nothing in swap, or printed no pagemap")
		}
		command(t, d, func(p *placeObject) {
			if p.PID == nil || p.Swap == nil {
				return
			}
			for i := range p.Size / 4096 {
				got[pageOf{*p.PID, virt(t, p.VA) + i*4096}] = fmt.Sprintf("%d:%#x", p.Swap.Type, p.Swap.Offset+i)
			}
		}, "who", "--swap", "0:0-0x7fffffffffff", "--swap", "1:0-0x7fffffffffff", "--swap", "2:0-0x7fffffffffff",
			"--swap", "3:0-0x7fffffffffff")
		compare(t, "swapped pages by slot", got, want)
	})
}

// TestMapsAgainstProc: the areas are those of /proc/PID/maps, with the flags of smaps, and what smaps and pagemap say of
// their pages.
func TestMapsAgainstProc(t *testing.T) {
	eachProcessCapture(t, func(t *testing.T, d *processDump) {
		all := d.all
		type areaOf struct {
			pid        int
			start, end uint64
		}
		type said struct {
			perms, flags, name string
			rss, swap          uint64
			present, uffdWP    uint64
		}
		got, want := map[areaOf]said{}, map[areaOf]said{}
		areas := d.maps(t)
		for _, p := range all.List {
			if !p.HasMM() {
				continue
			}
			for i := range p.Areas {
				a := &p.Areas[i]
				if a.Path == "[vsyscall]" {
					continue
				}
				s := said{perms: a.Perms, flags: strings.Join(a.Flags, " "), name: a.Path, rss: a.KB["Rss"] / 4}
				if !d.abi.Kernel().HugeZeroSpecial {
					s.rss += hugeZeroPages(p, a) // in the tables nothing tells it from others
				}
				if d.abi.Kernel().Release == "6.1" {
					s.rss += hugeWithoutRights(p, a)
				}
				s.present, s.uffdWP = presentIn(p, a)
				want[areaOf{p.PID, a.Start, a.End}] = s
			}
			for _, l := range areas[p.PID] {
				if l.Kind != "vma" {
					t.Errorf("process %d: %+v", p.PID, l)
				}
				s := said{perms: l.Perms, flags: strings.Join(l.Flags, " "), name: l.Name, rss: l.Rss}
				if len(p.Runs) > 0 {
					s.present, s.uffdWP = l.Resident, l.UffdWP
					if slices.Contains(l.Flags, "pf") {
						s.present = 0 // pagemap does not look there
					}
				}
				got[areaOf{p.PID, virt(t, l.Start), virt(t, l.End)}] = s
			}
		}
		compare(t, "areas", got, want)
	})
}

// presentIn counts the pages of an area that pagemap calls present, and write-protected.
func presentIn(p *truth.Process, a *truth.Area) (present, uffdWP uint64) {
	for _, r := range p.Runs {
		if r.VA < a.Start || r.VA >= a.End {
			continue
		}
		if r.Word&truth.PagemapPresent != 0 {
			present += r.Pages
		}
		if r.Word&truth.PagemapUffdWP != 0 {
			uffdWP += r.Pages
		}
	}
	return present, uffdWP
}

// hugeZeroPages counts the pages of an area that are of the huge zero page: in anonymous memory, only that is not.
func hugeZeroPages(p *truth.Process, a *truth.Area) uint64 {
	n := uint64(0)
	for _, r := range p.Runs {
		if r.VA >= a.Start && r.VA < a.End && r.Word&truth.PagemapPresent != 0 && r.Word&truth.PagemapFile != 0 &&
			a.Path == "" && !a.Has("sh") {
			n += r.Pages
		}
	}
	return n
}

// hugeWithoutRights counts the pages of huge ones with PROT_NONE, which smaps of 6.1 leaves out: follow_trans_huge_pmd() takes
// them for NUMA hints.
func hugeWithoutRights(p *truth.Process, a *truth.Area) uint64 {
	n := uint64(0)
	for _, r := range p.Runs {
		if strings.HasPrefix(a.Perms, "---") && r.VA >= a.Start && r.VA < a.End && r.Word&truth.PagemapPresent != 0 && r.Pages >= 512 {
			n += r.Pages
		}
	}
	return n
}

func virt(t *testing.T, s string) uint64 {
	t.Helper()
	v, err := usage.Hex("address", s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
