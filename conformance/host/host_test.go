//go:build linux && amd64

package host

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"ptemu/litmus"
	"ptemu/litmus/gen"
)

// open builds the agent and opens the running kernel, or skips the test.
func open(t *testing.T) *Host {
	t.Helper()
	agent := filepath.Join(t.TempDir(), "agent")
	build := exec.Command("go", "build", "-o", agent, "ptemu/conformance/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("agent: %v\n%s", err, out)
	}
	h, err := Open(agent)
	if errors.Is(err, ErrNotHere) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Log(h)
	return h
}

// compareAll compares programs and says what came of them.
func compareAll(t *testing.T, h *Host, programs []*litmus.Program) {
	t.Helper()
	f, kinds := NewFigures(), map[string]int{}
	for _, p := range programs {
		r, err := h.Compare(p)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		f.Add(&r)
		if r.NotHere == "" && len(r.Agrees) == 0 {
			report(t, h, p, &r, kinds)
		}
	}
	t.Log(f)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Logf("%d times %s", kinds[kind], kind)
	}
	if f.Programs == 0 {
		t.Error("nothing was compared")
	}
}

// shown is how many differences of a kind are shown in full.
const shown = 4

// report says in what a program differs. The first of a kind are shown without the steps that do not matter.
func report(t *testing.T, h *Host, p *litmus.Program, r *Result, kinds map[string]int) {
	t.Helper()
	for _, kernel := range slices.Sorted(maps.Keys(r.Differences)) {
		d := &r.Differences[kernel][0]
		kind := d.Line.Op.Verb + ": " + d.What
		if kinds[kind]++; kinds[kind] > shown {
			t.Errorf("%s, emulator as %s: %v", p.Name, kernel, d)
			continue
		}
		const budget = 60
		less := gen.Reduce(operations(p, kernel), budget, func(q *litmus.Program) bool {
			c, notHere, err := h.with(q, kernel)
			return err == nil && notHere == "" && len(c.found) > 0
		})
		if c, _, err := h.with(less, kernel); err == nil && c != nil && len(c.found) > 0 {
			d = &c.found[0]
		}
		t.Errorf("%s, emulator as %s: %v\n%s", p.Name, kernel, d, less)
	}
}

// random makes n random programs of operations that both sides offer.
func random(t *testing.T, h *Host, seed, n int) (programs []*litmus.Program) {
	t.Helper()
	e, err := litmus.NewEmulator(&litmus.Program{}, h.Kernels[0], "")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	has := func(op *litmus.Op) bool { return h.NotHere(op) == "" && e.NotHere(op) == "" }
	topics := gen.Topics()
	for i := range n {
		programs = append(programs, gen.Program(uint64(seed+i), gen.Options{Topic: topics[i%len(topics)], Has: has}))
	}
	return programs
}

// TestShort runs a part of the corpus and some random programs.
func TestShort(t *testing.T) {
	h := open(t)
	corpus, err := litmus.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	const every, programs = 4, 30
	var some []*litmus.Program
	for i := 0; i < len(corpus); i += every {
		some = append(some, corpus[i])
	}
	compareAll(t, h, append(some, random(t, h, 0, programs)...))
}
