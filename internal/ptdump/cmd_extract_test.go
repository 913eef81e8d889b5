package ptdump

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/kept"
	"ptemu/internal/truth"
	"ptemu/linux/proc"
	"ptemu/physmem"
)

// TestExtractCaptures: what is taken out of a real capture shows the same tables.
func TestExtractCaptures(t *testing.T) {
	capturetest.EachCapture(t, func(t *testing.T, _ truth.Folder, dump string) {
		out := filepath.Join(t.TempDir(), "tables.elf.zst")
		if code, stdout, stderr := run(t, "extract", dump, "-o", out); code != exitOK || stdout != "" {
			t.Fatalf("exit %d, %q, stderr %q", code, stdout, stderr)
		}
		for _, command := range [][]string{{"entries", "--format", "jsonl"}, {"dump", "--style", "kernel", "--root", "swapper"}} {
			code1, want, stderr := run(t, append(command, dump)...)
			code2, got, _ := run(t, append(command, out)...)
			if code1 != code2 || got != want || got == "" {
				t.Errorf("%v differs: exit %d, %d, %d bytes for %d, %s", command, code1, code2, len(got), len(want), stderr)
			}
		}
	})
}

// secret is what memory holds besides tables.
const secret = "nobody else is to read this"

// Entries as Linux 6.12 writes them: user, accessed; what is writable is dirty and soft-dirty.
const (
	readOnlyPage = 0x8000000012345025
	writablePage = 0x8000000012345867
)

// diffMachine is a machine with two processes that share memory, a kernel and secrets.
func diffMachine(change func(m *capturetest.Machine, shell x86.PFN)) *capturetest.Machine {
	m := capturetest.NewMachine()
	shell, root := m.Process("shell\n", proc.VMA{Start: 0x400000, End: 0x500000, Name: "[anon:secret name]", File: &proc.File{Path: "/home/someone"}})
	m.User(root, 0x400000, x86.LevelPTE, readOnlyPage)
	m.User(root, 0x401000, x86.LevelPTE, writablePage)
	other, root2 := m.Process("other")
	m.User(root2, 0x7f0000000000, x86.LevelPMD, 0x80000000400008e7)
	m.On("kthreadd", nil)
	m.On("vfork", shell.MM)
	m.InKernel(0xffff888000200000, x86.LevelPTE, 0x8000000000200163)
	_ = other
	page := m.Mem.Table()
	for i := range m.Mem.At(page) {
		copy8 := uint64(0)
		for j := range 8 {
			copy8 |= uint64(secret[(8*i+j)%len(secret)]) << (8 * j)
		}
		m.Mem.At(page)[i] = copy8
	}
	if change != nil {
		change(m, root)
	}
	return m
}

func extractOf(t *testing.T, m *capturetest.Machine, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "x.elf")
	if code, _, stderr := runOn(t, m, append([]string{"extract", m.Write(t, 0), "-o", out}, args...)...); code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	return out
}

// TestExtract: an extract holds the tables and no other frame, and the processes are in it.
func TestExtract(t *testing.T) {
	m := diffMachine(nil)
	full := m.Write(t, 0)
	out := extractOf(t, m)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(whole, []byte(secret)) || bytes.Contains(b, []byte(secret)) {
		t.Error("contents of memory are in the extract (or not in the capture)")
	}
	c, err := capture.Open(out, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var f physmem.Frame
	kept := 0
	for _, r := range c.Mem.Ranges() {
		first, end := r.Frames()
		for pfn := first; pfn < end; pfn++ {
			if c.Mem.ReadFrame(pfn, &f) == nil {
				kept++
			}
		}
	}
	// Three roots; PUD, PMD, PTE table of the kernel and the shell; PUD and PMD table of the other.
	if want := 3 + 3 + 3 + 2; kept != want {
		t.Errorf("%d frames, want %d", kept, want)
	}
	_, want, _ := runOn(t, m, "ps", "--format", "jsonl", full)
	for _, suffix := range []string{".zst", ".gz"} {
		if code, _, stderr := runOn(t, m, "extract", full, "-o", out+suffix); code != exitOK {
			t.Fatal(stderr)
		}
		if _, got, _ := run(t, "ps", "--format", "jsonl", out+suffix); got != want {
			t.Errorf("%s: ps differs", suffix)
		}
	}
	if _, got, stderr := run(t, "ps", "--format", "jsonl", out); got != want || !strings.Contains(got, "vfork") {
		t.Errorf("ps of the extract:\n%s%s\nof the capture:\n%s", got, stderr, want)
	}
	again := filepath.Join(t.TempDir(), "again.elf")
	if code, _, stderr := run(t, "extract", out, "-o", again); code != exitOK {
		t.Fatal(stderr)
	}
	if _, got, _ := run(t, "ps", "--format", "jsonl", again); got != want {
		t.Error("an extract of an extract differs")
	}
}

// TestExtractNames: names can be left out, and processes chosen.
func TestExtractNames(t *testing.T) {
	out := extractOf(t, diffMachine(nil), "--without-names", "--pid", "10")
	_, ps, _ := run(t, "ps", "--format", "jsonl", out)
	if strings.Count(ps, "\n") != 1 || strings.Contains(ps, "shell") {
		t.Errorf("ps:\n%s", ps)
	}
	_, maps, _ := run(t, "maps", "--format", "jsonl", out, "10")
	if strings.Contains(maps, "secret") || strings.Contains(maps, "someone") || !strings.Contains(maps, "[anon]") {
		t.Errorf("maps:\n%s", maps)
	}
	if code, _, stderr := runOn(t, diffMachine(nil), "extract", "--pid", "99", diffMachine(nil).Write(t, 0), "-o", out); code == exitOK || !strings.Contains(stderr, "99") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

// TestExtractHostile: a damaged note is an error that names it.
func TestExtractHostile(t *testing.T) {
	out := extractOf(t, diffMachine(nil))
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(kept.NoteName+"\x00"))
	if at < 0 {
		t.Fatal("no note")
	}
	for i := range 64 {
		bad := bytes.Clone(b)
		bad[at+8+i] ^= 0x41
		if err := os.WriteFile(out, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := run(t, "ps", out)
		if code != exitOK && !strings.Contains(stderr, kept.NoteName) {
			t.Errorf("byte %d: exit %d, %q", i, code, stderr)
		}
	}
}

// TestDiffCommand: what was done to a process between two captures is found, and nothing else.
func TestDiffCommand(t *testing.T) {
	before := extractOf(t, diffMachine(nil))
	later := diffMachine(func(m *capturetest.Machine, shell x86.PFN) {
		m.User(shell, 0x400000, x86.LevelPTE, writablePage)
		m.User(shell, 0x402000, x86.LevelPTE, writablePage)
		m.User(shell, 0x403000, x86.LevelPTE, writablePage)
		m.InKernel(0xffff888000200000, x86.LevelPTE, 0x8000000000200161)
		m.Process("newcomer")
		m.Procs.List = append(m.Procs.List[:1], m.Procs.List[2:]...) // "other" is gone
	})
	after := extractOf(t, later)
	if code, stdout, stderr := run(t, "diff", before, before); code != exitOK || stdout != "" || stderr != "" {
		t.Errorf("the same: exit %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, stderr := run(t, "diff", "--format", "jsonl", before, after)
	if code != exitFinding {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	var got []string
	dec := json.NewDecoder(strings.NewReader(stdout))
	for dec.More() {
		var d struct {
			Comm, Event, VA string
			Entries         uint64
			Changes         []string
		}
		if err := dec.Decode(&d); err != nil {
			t.Fatal(err)
		}
		line := d.Event
		if d.VA != "" {
			line = strings.TrimLeft(d.VA, "0x") + " " + string(rune('0'+d.Entries)) + " " + strings.Join(d.Changes, ",")
		}
		got = append(got, d.Comm+": "+line)
	}
	want := []string{
		": ffff888000200000 1 write-protected",
		"shell\n: 400000 1 became-writable,soft-dirty,dirtied",
		"shell\n: 402000 2 mapped",
		"other: gone", "newcomer: new",
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for args, n := range map[string]int{
		"--only mapped --entries": 2, "--only mapped,process --entries": 2 + 2, "--ignore process": 3, "--user": 4, "--kernel-half": 1, "--pid 10": 2,
		"--ignore mapped,became-writable,soft-dirty,dirtied --pid 10": 0, "--range 402000-403000 --entries --pid 10": 1,
	} {
		line := append(append([]string{"diff", "--format", "jsonl"}, strings.Fields(args)...), before, after)
		if _, stdout, stderr := run(t, line...); strings.Count(stdout, "\n") != n {
			t.Errorf("%s: want %d lines:\n%s%s", args, n, stdout, stderr)
		}
	}
	for _, format := range []string{"text", "json", "csv"} {
		if code, stdout, _ := run(t, "diff", "--format", format, before, after); code != exitFinding || !strings.Contains(stdout, "newcomer") {
			t.Errorf("%s: exit %d\n%s", format, code, stdout)
		}
	}
	if code, _, stderr := run(t, "diff", before, after, "-o", after); code != exitUsage {
		t.Errorf("a capture may be overwritten: exit %d, %q", code, stderr)
	}
	if code := Main(context.Background(), []string{"diff", "--only", "nonsense", before, after}, &bytes.Buffer{}, &bytes.Buffer{}); code != exitUsage {
		t.Errorf("--only nonsense: exit %d", code)
	}
}
