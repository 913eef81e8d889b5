package ptdump

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/audit"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/linux/proc"
)

// More flags of areas, with bits of their own.
const (
	vmUffdWP    = 16
	vmSoftDirty = 32
)

// Where the kernel of the machine has what.
const (
	directMapAt x86.Virt = 0xffff888000000000
	vmallocAt   x86.Virt = 0xffffc90000000000
	vmemmapAt   x86.Virt = 0xffffea0000000000
	kernelText  x86.Virt = 0xffffffff81000000
)

// Entries for frame 0.
const (
	textPage     = 0x0000000000000025 // r-x
	dataPage     = 0x8000000000000867 // rw-, dirty, soft-dirty
	kernelPage   = 0x8000000000000163
	kernelROPage = 0x8000000000000121
)

func onFrame(e, frame uint64) uint64 { return e | frame<<12 }

// auditObject is the part of an object of the JSON output that is looked at.
type auditObject struct {
	Kind, Rule, Severity, Explained, Comm, VA, Level, Raw string
	PIDs                                                  []int
	Size, Count                                           uint64
	PFN                                                   *uint64
}

// withFlags makes the processes of m know the bits of vm_flags.
func withFlags(t *testing.T, m *capturetest.Machine) {
	t.Helper()
	const flags = `{"Flags":[{"Mask":1,"Code":"rd"},{"Mask":2,"Code":"wr"},{"Mask":4,"Code":"ex"},{"Mask":8,"Code":"sh"},` +
		`{"Mask":16,"Code":"uw"},{"Mask":32,"Code":"sd"}]}`
	var p proc.Processes
	if err := json.Unmarshal([]byte(flags), &p); err != nil {
		t.Fatal(err)
	}
	p.List = m.Procs.List
	m.Procs = p
}

// auditCommandMachine has two processes, the second with two faults and an area for writable code.
func auditCommandMachine(t *testing.T) (m *capturetest.Machine, path string) {
	t.Helper()
	m = capturetest.NewMachine()
	m.InKernel(kernelText, x86.LevelPTE, onFrame(kernelPage, uint64(m.Kernel))) // an image with init_mm's root in it
	for i := range x86.Virt(64) {
		m.InKernel(directMapAt+i<<21, x86.LevelPMD, kernelPage|uint64(i)<<21|0x80)
	}
	m.InKernel(vmallocAt, x86.LevelPTE, onFrame(kernelPage, 0x4000))
	m.InKernel(vmemmapAt, x86.LevelPTE, onFrame(kernelPage, 0x4001))
	for _, name := range []string{"init", "a \"b\"\n"} {
		p, root := m.Process(name, capturetest.Area(0x400000, 0x500000, capturetest.VMRead|capturetest.VMExec|vmSoftDirty), capturetest.Area(0x600000, 0x700000, capturetest.VMRead|capturetest.VMWrite|vmUffdWP|vmSoftDirty),
			capturetest.Area(0x800000, 0x900000, capturetest.VMRead|capturetest.VMWrite|capturetest.VMExec|vmSoftDirty))
		p.MM.Addr = directMapAt
		for i := range p.MM.Areas {
			p.MM.Areas[i].Prot = 0x25
		}
		copy(m.Mem.At(root)[256:], m.Mem.At(m.Kernel)[256:])
		m.User(root, 0x400000, x86.LevelPTE, onFrame(textPage, 0x4100))
		m.User(root, 0x600000, x86.LevelPTE, onFrame(dataPage, uint64(0x4110+m.Next)))
		if name != "init" {
			m.User(root, 0x601000, x86.LevelPTE, onFrame(dataPage|x86.PageUffdWP, 0x4130))
			m.User(root, 0x602000, x86.LevelPTE, onFrame(dataPage|x86.PageUffdWP, 0x4131))
			m.User(root, 0x700000, x86.LevelPTE, onFrame(dataPage, 0x4132))
			m.User(root, 0x800000, x86.LevelPTE, onFrame(0x867, 0x4133))
		}
	}
	withFlags(t, m)
	return m, m.Write(t, 0)
}

// TestAuditFormats: every format has the findings, and the exit code says that there are some.
func TestAuditFormats(t *testing.T) {
	m, path := auditCommandMachine(t)
	want := []string{"uffd-wp-writable", "outside-areas", "user-wx"}
	code, text, stderr := runOn(t, m, "audit", path)
	if code != exitFinding || !strings.Contains(stderr, "2 address spaces: 2 errors, no warnings, no notes, and 1 explained") ||
		!strings.Contains(stderr, "not run: pti-user-maps-kernel") {
		t.Errorf("exit %d, %s\n%s", code, stderr, text)
	}
	at := 0
	for _, rule := range want {
		i := strings.Index(text, " "+rule+"  ")
		if i < at {
			t.Errorf("no %s in\n%s", rule, text)
		}
		at = i
	}
	if strings.Count(text, `process 11 ("a \"b\"\n")`) != 3 {
		t.Errorf("names in\n%s", text)
	}
	_, out, _ := runOn(t, m, "audit", "--format", "json", path)
	var rows []auditObject
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatal(err)
	}
	checkAuditRows(t, rows, want)
	_, lines, _ := runOn(t, m, "audit", "--format", "jsonl", path)
	var again []auditObject
	for line := range strings.Lines(lines) {
		var r auditObject
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		again = append(again, r)
	}
	checkAuditRows(t, again, want)
	_, table, _ := runOn(t, m, "audit", "--format", "csv", path)
	records, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	if err != nil || len(records) != len(rows)+1 || records[1][1] != want[0] || records[1][4] != "11" || records[1][9] != "2" {
		t.Errorf("%v, %q", err, records)
	}
}

func checkAuditRows(t *testing.T, rows []auditObject, want []string) {
	t.Helper()
	var got []string
	notRun := 0
	for _, r := range rows {
		switch r.Kind {
		case "finding":
			got = append(got, r.Rule)
		case "not-run":
			notRun++
		}
	}
	if !slices.Equal(got, want) || notRun != 3 {
		t.Fatalf("%q, want %q; %d not run", got, want, notRun)
	}
	r := rows[0]
	if r.VA != "0x0000000000601000" || r.Size != 0x2000 || r.Count != 2 || r.Severity != "error" || r.Comm != "a \"b\"\n" ||
		!slices.Equal(r.PIDs, []int{11}) || *r.PFN != 0x4130 || r.Level != "pte" || r.Raw != "8000000004130c67" {
		t.Errorf("%+v", r)
	}
	if rows[2].Explained == "" || rows[2].Severity != "note" {
		t.Errorf("%+v", rows[2])
	}
}

// TestAuditFlags: which rules are run, and what the exit code is.
func TestAuditFlags(t *testing.T) {
	m, path := auditCommandMachine(t)
	for _, c := range []struct {
		args string
		code int
		want string // rules found
	}{
		{"--only user-wx", exitOK, "user-wx"},
		{"--only outside-areas,user-wx", exitFinding, "outside-areas user-wx"},
		{"--skip outside-areas --skip uffd-wp-writable", exitOK, "user-wx"},
		{"--only outside-areas --skip outside-areas", exitOK, ""},
		{"--min-severity warning", exitFinding, "uffd-wp-writable outside-areas"},
		{"--min-severity error --jobs 1", exitFinding, "uffd-wp-writable outside-areas"},
		{"--pid 10", exitOK, ""},
		{"--pid 11", exitFinding, "uffd-wp-writable outside-areas user-wx"},
		{"--pid 12", exitUnreadable, ""},
		{"--cr3 0x1000000", exitOK, ""},
		{"--only nothing", exitUsage, ""},
		{"--skip uffd", exitUsage, ""},
		{"--min-severity fatal", exitUsage, ""},
		{"--root swapper", exitUsage, ""},
		{"--sarif --format json", exitUsage, ""},
		{"--jobs -1", exitUsage, ""},
	} {
		code, out, stderr := runOn(t, m, append(append([]string{"audit", "--format", "csv"}, strings.Fields(c.args)...), path)...)
		var got []string
		for line := range strings.Lines(out) {
			if f := strings.Split(line, ","); f[0] == "finding" {
				got = append(got, f[1])
			}
		}
		if code != c.code || strings.Join(got, " ") != c.want {
			t.Errorf("%s: exit %d, want %d; found %q, want %q; %s", c.args, code, c.code, got, c.want, stderr)
		}
	}
}

// TestAuditWithoutProcesses: what the processors run on is audited, and the rules that were not run are named.
func TestAuditWithoutProcesses(t *testing.T) {
	dump := filepath.Join(capturetest.Repository(), "testdata", "captures", "linux-6.1-la57-nokaslr", "tables.elf.zst")
	code, out, stderr := run(t, "audit", "--format", "jsonl", dump)
	if code != exitFinding || !strings.Contains(stderr, "not run: ") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	for _, name := range []string{"outside-areas", "shared-private-page"} {
		if !strings.Contains(out, fmt.Sprintf(`{"kind":"not-run","rule":%q`, name)) || !strings.Contains(stderr, name) {
			t.Errorf("%s is not named as not run:\n%s\n%s", name, out, stderr)
		}
	}
	if code, _, stderr = run(t, "audit", "--min-severity", "warning", dump); code != exitOK {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

// TestAuditHelp: the documentation is printed without a capture.
func TestAuditHelp(t *testing.T) {
	if code, out, _ := run(t, "audit", "--list"); code != exitOK || strings.Count(out, "\n") != len(audit.RuleNames()) {
		t.Errorf("exit %d:\n%s", code, out)
	}
	for _, name := range audit.RuleNames() {
		if code, out, _ := run(t, "audit", "--explain", name); code != exitOK || !strings.HasPrefix(out, name+" (") || !strings.Contains(out, "Why it matters: ") {
			t.Errorf("%s: exit %d:\n%s", name, code, out)
		}
	}
	if code, _, stderr := run(t, "audit", "--explain", "soft-dirty"); code != exitUsage || !strings.Contains(stderr, "soft-dirty-clean-writable") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if code, _, _ := run(t, "audit"); code != exitUsage {
		t.Errorf("no capture: exit %d", code)
	}
	file := filepath.Join(t.TempDir(), "x.sarif")
	m, path := auditCommandMachine(t)
	if code, _, stderr := runOn(t, m, "audit", "--sarif", "-o", file, path); code != exitFinding {
		t.Errorf("exit %d, %s", code, stderr)
	}
	if b, err := os.ReadFile(file); err != nil || !json.Valid(b) || !strings.Contains(string(b), `"uffd-wp-writable"`) {
		t.Errorf("%v", err)
	}
}
