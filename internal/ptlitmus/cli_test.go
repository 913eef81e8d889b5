package ptlitmus_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/capture/elfcore"
	"ptemu/internal/ptlitmus"
	"ptemu/litmus"
)

const good = `title   a test
map     a 2 rw
write   a 0 = 7
expect  a 0 present rw contents 7
`

// run runs a command line, and returns its output, complaints and exit code.
func run(t *testing.T, args ...string) (out, complaints string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = ptlitmus.Main(t.Context(), args, &o, &e)
	return o.String(), e.String(), code
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.pt")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodes(t *testing.T) {
	ok := file(t, good)
	for _, c := range []struct {
		args []string
		code int
		want string // in output or complaints
	}{
		{[]string{"run", ok}, 0, "1 tests, 3 runs: 3 passed, 0 failed, 0 not here"},
		{[]string{"run", filepath.Dir(ok)}, 0, "3 passed"},
		{[]string{"run", "--kernel", "6.12", ok}, 0, "1 runs"},
		{[]string{"run", file(t, strings.Replace(good, "contents 7", "contents 8", 1))}, 1, "test.pt:4:24: a 0 is contents 7"},
		{[]string{"trace", file(t, strings.Replace(good, "contents 7", "!rw", 1))}, 1, "FAIL"},
		{[]string{"run", file(t, "kernels >=6.12\n"+good)}, 0, "1 not here"},
		{[]string{"run", "--kernel", "5.8", ok}, 2, "there are 6.1, 6.12, 7.2, and all"},
		{[]string{"run", "--format", "xml", ok}, 2, "there are text and json"},
		{[]string{"run", "--on", "qemu:7.2,la58", ok}, 2, `--on: no release "la58": there are`},
		{[]string{"run", "--timeout", "1ns", ok}, 1, ": no end of the test after 1ns"},
		{[]string{"run", "--timeout", "0s", ok}, 2, "a test needs some time"},
		{[]string{"trace", "--policy", "none", ok}, 2, "no historic policy"},
		{[]string{"trace"}, 2, "takes one file"},
		{[]string{"trace", "--kernel", "all", ok}, 2, "one kernel at a time"},
		{[]string{"trace", t.TempDir()}, 2, "is a folder"},
		{[]string{"walk"}, 2, "unknown command"},
		{nil, 2, "no command"},
		{[]string{"names", "colours"}, 2, "points, policies, verbs, items"},
		{[]string{"names", "points"}, 0, "flush\n"},
		{[]string{"--help"}, 0, "Exit codes"},
		{[]string{"run", "nowhere.pt"}, 3, "nowhere.pt"},
		{[]string{"run", t.TempDir()}, 3, "no *.pt files"},
		{[]string{"run", file(t, "map a 1 rw\n")}, 3, "nothing is expected"},
		{[]string{"run", file(t, "mop a 1 rw\n")}, 3, "test.pt:1:1: \"mop\" is no operation (did you mean map?)"},
		{[]string{"run", file(t, "map a 1 rw\nexpect a 0 none under x")}, 3, "there is no policy"},
	} {
		out, complaints, code := run(t, c.args...)
		if code != c.code || !strings.Contains(out+complaints, c.want) {
			t.Errorf("%v ends with %d, want %d and %q:\n%s%s", c.args, code, c.code, c.want, out, complaints)
		}
	}
}

// TestCorpusTable: without a file, run runs what comes with the program, and prints a line for each test. Whether they
// pass is for package litmus to say.
func TestCorpusTable(t *testing.T) {
	programs, err := litmus.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	out, complaints, code := run(t, "run")
	for _, p := range programs {
		if !strings.Contains(out, "\n"+p.Name+" ") {
			t.Errorf("no line for %s", p.Name)
		}
	}
	if code != 0 && code != 1 || (code == 0) != strings.Contains(out, " 0 failed") {
		t.Errorf("%d: %s%s", code, out, complaints)
	}
}

func TestJSON(t *testing.T) {
	out, _, code := run(t, "run", "--format", "json", file(t, "kernels <7.2\n"+strings.Replace(good, "contents 7", "contents 8", 1)))
	var all []struct {
		Test, Kernel, Verdict, Reason string
		Failures                      []struct{ Line, Column int }
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	if code != 1 || len(all) != 3 || all[0].Verdict != "fail" || all[0].Failures[0].Line != 5 || all[0].Failures[0].Column != 24 ||
		all[2].Verdict != "not-here" || all[2].Kernel != "7.2" || all[2].Reason == "" {
		t.Errorf("%d: %s", code, out)
	}
}

// TestTrace: the trace names places, what the entries were and are, and who owes a flush.
func TestTrace(t *testing.T) {
	path := file(t, "map a 2 rw\nwrite a 0\nexpect a 0 rw\ncpu1: start protect a r until flush\ncpu1: finish\n")
	out, complaints, code := run(t, "trace", "--kernel", "6.1", path)
	if code != 0 {
		t.Fatal(out, complaints)
	}
	for _, want := range []string{
		"   2  write   a 0\n", "fault   cpu0 writes p: a 0", "-> 0x80000000", "frame 0x", "(-rw)",
		"stands  cpu1 at flush, and owes a flush of p: a 0 (pte)", "flush   p: a 0 (pte)", "pass on 6.1",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestCapture: the machine is written as a capture.
func TestCapture(t *testing.T) {
	elf := filepath.Join(t.TempDir(), "out.elf")
	out, complaints, code := run(t, "trace", "--capture", elf, file(t, good+"fork q\n"))
	if code != 0 || !strings.Contains(complaints, "process q is processor 1") {
		t.Fatal(code, out, complaints)
	}
	f, err := os.Open(elf)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	core, err := elfcore.Open(f, info.Size())
	if err != nil || len(core.CPUs) != 2 || !bytes.Contains(core.VMCoreInfo, []byte("OSRELEASE=7.2")) {
		t.Errorf("%v, %d processors, %q", err, len(core.CPUs), core.VMCoreInfo)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(elf), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, _, code := run(t, "trace", "--capture", "/nowhere/out.elf", file(t, good)); code != 4 {
		t.Errorf("a capture that cannot be written ends with %d", code)
	}
}

// broken refuses to be written to.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestOutputThatFails(t *testing.T) {
	path := file(t, good)
	for _, args := range [][]string{{"run", path}, {"run", "--format", "json", path}, {"trace", path}, {"names", "verbs"}} {
		var complaints bytes.Buffer
		if code := ptlitmus.Main(t.Context(), args, broken{}, &complaints); code != 4 {
			t.Errorf("%v ends with %d: %s", args, code, &complaints)
		}
	}
}
