//go:build conformance

// Package conformance holds litmus programs on the emulator against the same programs on running kernels.
package conformance

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"ptemu/conformance/compare"
	"ptemu/conformance/kernel"
	"ptemu/conformance/vm"
	"ptemu/litmus"
)

// releases are the kernels to run on: PTEMU_KERNELS, else all that the emulator knows.
func releases() []string {
	if names := os.Getenv("PTEMU_KERNELS"); names != "" {
		return strings.Split(names, ",")
	}
	return litmus.Kernels()
}

func envInt(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

// agent builds the guest's program, once; or it is PTEMU_AGENT.
var agent = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PTEMU_AGENT"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "ptemu-agent")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "ptemu/conformance/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := build.CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := agent(); err == nil && path != os.Getenv("PTEMU_AGENT") {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// machine keeps one booted kernel, and boots another when it is lost.
type machine struct {
	t       *testing.T
	release string
	k       *kernel.Kernel
}

// boot skips the test where there is nothing to boot.
func boot(t *testing.T, release string) *machine {
	t.Helper()
	m := &machine{t: t, release: release}
	m.reboot()
	t.Cleanup(func() {
		if m.k != nil {
			m.k.Close()
		}
	})
	return m
}

func (m *machine) reboot() {
	m.t.Helper()
	if m.k != nil {
		m.k.Close()
		m.k = nil
	}
	path, err := agent()
	if err != nil {
		m.t.Fatal(err)
	}
	m.k, err = kernel.Open(context.Background(), kernel.Config{Kernel: m.release, Agent: path, Levels: envInt("PTEMU_LEVELS", 0), PTI: envInt("PTEMU_PTI", 0) != 0})
	if errors.Is(err, vm.ErrNotPrepared) {
		m.t.Skip(err)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// both runs a program on both sides. After a failure of the machine there is a new one.
func (m *machine) both(p *litmus.Program) (compare.Result, error) {
	p = p.WithLevels(envInt("PTEMU_LEVELS", 0))
	r, err := compare.Both(p, litmus.Release(m.k.Release()), func(p *litmus.Program) (litmus.Target, error) { return m.k.Fresh(context.Background(), p) })
	if err != nil && !strings.HasPrefix(err.Error(), "emulator") {
		m.t.Logf("%s: a new machine after: %v", p.Name, err)
		m.reboot()
	}
	return r, err
}

// TestCorpus: every litmus test that a running kernel can run does the same there, entry by entry.
func TestCorpus(t *testing.T) {
	programs, err := litmus.Corpus()
	if path := os.Getenv("PTEMU_FILES"); path != "" {
		programs, err = litmus.Load(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, release := range releases() {
		t.Run(release, func(t *testing.T) {
			m := boot(t, release)
			var all compare.Counts
			reasons := map[string]int{}
			for _, p := range programs {
				r, err := m.both(p)
				if err != nil {
					t.Errorf("%s: %v", p.Name, err)
					continue
				}
				all.Add(r.Counts)
				if r.NotHere != "" {
					reasons[r.NotHere]++
				}
				report(t, p, r.Differences)
			}
			t.Logf("%s: %v", m.k.Release(), all)
			for reason, n := range reasons {
				t.Logf("%d cannot run: %s", n, reason)
			}
		})
	}
}

// report prints the first differences of a program.
func report(t *testing.T, p *litmus.Program, d []compare.Difference) {
	t.Helper()
	const most = 4
	for i := range d[:min(most, len(d))] {
		t.Errorf("%s: %v", p.Name, &d[i])
	}
	if len(d) > most {
		t.Errorf("%s: and %d more places", p.Name, len(d)-most)
	}
}
