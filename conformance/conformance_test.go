//go:build conformance

package conformance

import (
	"context"
	"os"
	"testing"
	"time"

	"ptemu/conformance/compare"
	"ptemu/conformance/kernel"
	"ptemu/litmus"
)

func TestCorpus(t *testing.T) {
	version := os.Getenv("PTEMU_KERNEL")
	ctx := context.Background()
	k, err := kernel.Open(ctx, kernel.Config{Kernel: version, Agent: "/tmp/agent"})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	defer func() { t.Logf("%s", k.Console()) }()
	progs, err := litmus.Corpus()
	if path := os.Getenv("PTEMU_FILES"); path != "" {
		progs, err = litmus.Load(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all compare.Counts
	for _, p := range progs {
		start := time.Now()
		emu, err := litmus.NewEmulator(p, version, "")
		if err != nil {
			t.Fatal(err)
		}
		a, err := compare.Run(p, emu, version)
		emu.Close()
		if err != nil {
			t.Errorf("%s: emulator: %v", p.Name, err)
			continue
		}
		tg, err := k.Fresh(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := compare.Run(p, tg, version)
		if err != nil {
			t.Errorf("%s: kernel: %v", p.Name, err)
			continue
		}
		if b.NotHere != "" || a.NotHere != "" {
			t.Logf("%s: n/a %s %s", p.Name, a.NotHere, b.NotHere)
		}
		d, n := compare.Compare(a, b)
		all.Add(n)
		t.Logf("%s: %v in %v", p.Name, n, time.Since(start))
		for i := range d {
			if i < 6 {
				t.Errorf("%s: %v", p.Name, &d[i])
			}
		}
	}
	t.Logf("%s: %v", k.Release(), all)
}
