package ptdump

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/linux"
	"ptemu/linux/proc"
)

// smallTown is a machine with a kernel thread and some processes: 11 and 12 share a file's page and have one of their own
// each, 13 runs on the memory of 12, 14 has a name that disturbs terminals and a table that is missing, 15 a PTI pair, and
// of 16 nothing but the root is known.
func smallTown() *capturetest.Machine {
	m := capturetest.NewMachine()
	m.On("kthreadd", nil)
	lib := &proc.File{Dev: 8<<20 | 1, Inode: 77, Path: "/lib/a\\012b.so"}
	text := proc.VMA{Start: 0x400000, End: 0x402000, Flags: capturetest.VMRead | capturetest.VMExec, Prot: x86.ProtReadonlyExec, File: lib, Offset: 0x1000}
	data := proc.VMA{Start: 0x600000, End: 0x608000, Flags: capturetest.VMRead | capturetest.VMWrite, Prot: x86.ProtReadonly, Name: "[heap]", Anon: true}
	huge := proc.VMA{Start: 0x7f0040000000, End: 0x7f0040200000, Flags: capturetest.VMRead | capturetest.VMWrite | capturetest.VMMayShare, Prot: x86.ProtShared}
	_, a := m.Process("init", text, data, huge)
	p, b := m.Process("worker", text, data)
	p.Threads = []proc.Thread{{PID: 112, Comm: "worker/1"}, {PID: 113, Comm: "worker/2"}}
	m.On("shares", p.MM)
	for i, root := range []x86.PFN{a, b} {
		m.User(root, 0x400000, x86.LevelPTE, 0x0000000000200025) // the file's page
		own := uint64(0x300+16*i) << 12
		m.User(root, 0x600000, x86.LevelPTE, 0x8000000000000867|own)             // dirty, soft-dirty
		m.User(root, 0x601000, x86.LevelPTE, 0x8000000000001867|own)             // and its neighbour
		m.User(root, 0x602000, x86.LevelPTE, 0x07fffffffffffc00-0x400*uint64(i)) // swap 0:1 and 0:2
	}
	m.User(a, 0x603000, x86.LevelPTE, 0x8000000000305425)       // uffd-wp
	m.User(a, 0x604000, x86.LevelPTE, 0xfffffffffffffc00)       // uffd-wp marker
	m.User(a, 0x605000, x86.LevelPTE, 0x040fffffffcf8920)       // PROT_NONE, frame 0x307
	m.User(a, 0x606000, x86.LevelPTE, 0xf7ffe7fffdb97400)       // migration write young dirty
	m.User(a, 0x607000, x86.LevelPTE, 0x8000000000001225)       // special: the zero page
	m.User(a, 0x401000, x86.LevelPTE, 0x0000000000201067)       // writable, in text
	m.User(a, 0x10000000, x86.LevelPTE, 0x8000000000201025)     // in no area
	m.User(a, 0x7f0040000000, x86.LevelPMD, 0x80000000400008e7) // 2M
	_, c := m.Process("a\x1b[31mb", capturetest.Area(0x1000, 0x2000, capturetest.VMRead))
	m.User(c, 0x1000, x86.LevelPTE, 0x8000000000200025)
	m.User(c, 0x7f00c0000000, x86.LevelPMD, 0x9999067) // a table that is not there
	pair := m.Mem.Table()
	if pair&1 != 0 {
		pair = m.Mem.Table()
	}
	mm := &proc.MM{Addr: 1, Roots: linux.Roots{Kernel: pair.Phys(), User: (pair | 1).Phys(), PTI: true}}
	m.On("isolated", mm)
	m.User(pair, 0x1000, x86.LevelPTE, 0x8000000000200025)
	unknown := &proc.Process{PID: -1, TGID: -1, PPID: -1, MM: &proc.MM{AreasErr: "no symbols"}}
	unknown.MM.Roots.Kernel = m.Mem.Table().Phys()
	unknown.MM.Roots.User = unknown.MM.Roots.Kernel
	m.Procs.List = append([]*proc.Process{unknown}, m.Procs.List...)
	m.InKernel(0xffff888000000000, x86.LevelPMD, 0x8000000000000163|0x80)
	m.InKernel(0xffff888000200000, x86.LevelPMD, 0x8000000000200163|0x80)
	m.InKernel(0xffffc90000000000, x86.LevelPTE, 0x0000000000200161)
	m.InKernel(0xffffc90000001000, x86.LevelPTE, 0x8000000000300163)
	return m
}

// TestTownGolden compares whole outputs of commands on a machine with processes. Run it with -update after a change.
func TestTownGolden(t *testing.T) {
	m := smallTown()
	path := m.Write(t, 0)
	for name, args := range map[string]string{
		"ps":             "ps @",
		"ps-threads":     "ps --threads --sort resident --format csv @",
		"ps-jsonl":       "ps --format jsonl @",
		"maps":           "maps @ 11",
		"maps-smaps":     "maps --smaps @ 12",
		"maps-jsonl":     "maps --format jsonl @ 11",
		"maps-csv":       "maps --format csv @ 14",
		"maps-damaged":   "maps @ 14",
		"maps-root":      "maps @ 0x1020000",
		"maps-no-areas":  "maps @ 15",
		"maps-kernel":    "maps @ 10",
		"maps-nobody":    "maps @ 99",
		"who":            "who @ 200fff pfn:0x40001 300000+2000",
		"who-jsonl":      "who --user --format jsonl @ pfn:512 1234000 9999000",
		"who-csv":        "who --format csv --swap 0:1-3 @ pfn:0x4801",
		"who-swap":       "who --swap 0:1 --swap 0:7 @",
		"who-all":        "who --all @",
		"who-all-jsonl":  "who --all --user --min 2 --format jsonl @",
		"who-all-csv":    "who --all --user --format csv @",
		"who-tables":     "who @ 1000000-1009000",
		"dump-pid":       "dump --pid 12 @",
		"translate-pid":  "translate --pid 12 @ 601234",
		"entries-kernel": "entries --pid 10 @",
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := runOn(t, m, strings.Fields(strings.ReplaceAll(args, "@", path))...)
			text := fmt.Sprintf("$ ptdump %s\nexit code %d\n-- stdout --\n%s-- stderr --\n%s", args, code, stdout, stderr)
			golden(t, filepath.Join("testdata", "town", name+".golden"), strings.ReplaceAll(text, path, "TOWN"))
		})
	}
}

// TestTownUsage: what makes no sense is refused before the capture is looked at.
func TestTownUsage(t *testing.T) {
	m := smallTown()
	path := m.Write(t, 0)
	for _, args := range []string{
		"who @", "who --all @ 1000", "who --min 2 @ 1000", "who @ xyz", "who @ pfn:zz", "who @ 2000-1000", "who @ 10000000000000",
		"who @ fffffffffffffff0+1000", "who --swap 0 @", "who --swap 32:1 @", "who --swap 0:5-5 @", "who --swap 0:x @", "maps @", "maps @ 1 2",
		"maps @ 0xzz", "maps @ 99999999999", "maps @ -1", "maps --smaps --format json @ 11", "ps --sort size @", "ps --jobs -1 @", "ps @ 11",
		"dump --pid 12 --cr3 1000 @", "dump --pid 12 --root swapper @",
	} {
		code, stdout, stderr := runOn(t, m, strings.Fields(strings.ReplaceAll(args, "@", path))...)
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "ptdump: ") {
			t.Errorf("%s: exit %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

// TestFormatsOfTownAgree: every format has the same rows.
func TestFormatsOfTownAgree(t *testing.T) {
	m := smallTown()
	path := m.Write(t, 0)
	for _, args := range []string{"ps @", "ps --threads @", "maps @ 11", "maps @ 14", "who @ 0-500000000", "who --all @"} {
		get := func(format string) string {
			_, stdout, _ := runOn(t, m, append(strings.Fields(strings.ReplaceAll(args, "@", path)), "--format", format)...)
			return stdout
		}
		lines := jsonLines(t, get("jsonl"))
		var array []map[string]any
		if err := json.Unmarshal([]byte(get("json")), &array); err != nil {
			t.Fatal(args, err)
		}
		if len(lines) == 0 || fmt.Sprint(lines) != fmt.Sprint(array) {
			t.Errorf("%s: %d lines, %d elements, or they differ", args, len(lines), len(array))
		}
		rows, err := csv.NewReader(strings.NewReader(get("csv"))).ReadAll()
		if err != nil {
			t.Fatal(args, err)
		}
		if len(rows) != len(lines)+1 {
			t.Errorf("%s: %d records, want %d", args, len(rows), len(lines)+1)
		}
	}
}

// TestJobsDoNotMatter: the output is the same however many walk at a time.
func TestJobsDoNotMatter(t *testing.T) {
	m := capturetest.Workers(12, 3, 5)
	path := m.Write(t, 0)
	for _, args := range []string{"ps", "who --all", "who --user --format jsonl"} {
		words := strings.Fields(args)
		words = append([]string{words[0], path}, words[1:]...)
		if words[0] == "who" && !slices.Contains(words, "--all") {
			words = append(words, "0-ffffffffff")
		}
		var want string
		for _, jobs := range []string{"1", "2", "16"} {
			code, stdout, stderr := runOn(t, m, append(words, "--jobs", jobs)...)
			if want == "" {
				want = stdout
			}
			if code != exitOK || stdout != want || len(want) < 100 {
				t.Errorf("%s with %s jobs: exit %d, %s\n%.300s\nwant\n%.300s", args, jobs, code, stderr, stdout, want)
			}
		}
	}
}
