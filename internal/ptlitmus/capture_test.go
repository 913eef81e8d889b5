package ptlitmus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/internal/ptdump"
	"ptemu/litmus"
	"ptemu/pgtable"
)

// entries is a [pgtable.Visitor] that keeps the entries in leaf position as ptdump names them: address, level, value.
type entries []string

func (e *entries) Enter(*pgtable.Table) (bool, error) { return true, nil }
func (e *entries) Leave(*pgtable.Table) error         { return nil }
func (e *entries) Problem(p *pgtable.Problem) error   { return p.Err }
func (e *entries) add(t *pgtable.Table, i int) {
	if t.Entries[i] != 0 {
		*e = append(*e, fmt.Sprintf("%v %v %016x", t.Addr(i), t.Level, t.Entries[i]))
	}
}

func (e *entries) Slot(t *pgtable.Table, i int, _ pgtable.Slot) error {
	e.add(t, i)
	return nil
}

func (e *entries) PTEs(t *pgtable.Table) error {
	for i := t.First; i <= t.Last; i++ {
		e.add(t, i)
	}
	return nil
}

// dumped returns what ptdump says of a processor's user half.
func dumped(t *testing.T, path string, cpu int) (all []string) {
	t.Helper()
	var out, complaints bytes.Buffer
	args := []string{"entries", "--user", "--format", "jsonl", "--cpu", fmt.Sprint(cpu), path}
	if code := ptdump.Main(t.Context(), args, &out, &complaints); code > 1 {
		t.Fatalf("ptdump ends with %d: %s", code, &complaints)
	}
	for line := range strings.Lines(out.String()) {
		var l struct{ VA, Level, Raw, Kind string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Kind == "problem" || l.Kind == "unknown" {
			t.Errorf("ptdump: %s", line)
		}
		all = append(all, fmt.Sprintf("%s %s %s", l.VA, l.Level, l.Raw))
	}
	return all
}

// TestPtdumpShowsTheSame: what every test of the corpus leaves behind, written as a capture, is what ptdump finds in it:
// every entry of every process, and nothing else.
func TestPtdumpShowsTheSame(t *testing.T) {
	programs, err := litmus.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.elf")
	compared := 0
	for n, p := range programs {
		kernels := litmus.Kernels()
		on := litmus.RunOn{Kernel: kernels[n%len(kernels)]}
		e, err := litmus.NewEmulator(p, on.Kernel, "")
		if err != nil {
			t.Fatal(err)
		}
		litmus.Run(p, e, on.Kernel, "", litmus.Observer{})
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.WriteCapture(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		for i, name := range e.Processes() {
			tree := e.Process(name).Tree()
			var want entries
			if err := pgtable.Walk(tree.Memory(), e.ABI(), tree.Root(), pgtable.Range{Last: tree.Limit() - 1}, &want); err != nil {
				t.Fatal(err)
			}
			got := dumped(t, path, i)
			if !slices.Equal(got, []string(want)) {
				t.Errorf("%s on %s, process %s:\nptdump   %v\nemulator %v", p.Name, on.Kernel, name, got, want)
			}
			compared += len(want)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if compared == 0 {
		t.Error("nothing was compared")
	}
	t.Logf("%d entries of %d tests", compared, len(programs))
}
