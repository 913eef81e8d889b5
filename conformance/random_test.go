//go:build conformance

package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ptemu/conformance/compare"
	"ptemu/litmus"
	"ptemu/litmus/gen"
)

// TestRandom: random programs do the same on the emulator and on running kernels. PTEMU_PROGRAMS says how many,
// PTEMU_SEED with which seed the first is made, PTEMU_TOPIC what all are about, PTEMU_FOUND where programs that
// differ are written, reduced, as litmus files that expect what the kernel did.
func TestRandom(t *testing.T) {
	const programs, seed, seconds = 60, 1, 60
	for _, release := range releases() {
		t.Run(release, func(t *testing.T) {
			f := &finder{m: boot(t, release), kinds: map[string]int{}}
			var err error
			if f.emu, err = litmus.NewEmulator(&litmus.Program{}, litmus.Release(f.m.k.Release()), ""); err != nil {
				t.Fatal(err)
			}
			defer f.emu.Close()
			stop := time.Now().Add(time.Duration(envInt("PTEMU_SECONDS", seconds)) * time.Second)
			for i := range envInt("PTEMU_PROGRAMS", programs) {
				if time.Now().After(stop) {
					t.Logf("time is up after %d programs", i)
					break
				}
				topic := gen.Topics()[i%len(gen.Topics())]
				if name := os.Getenv("PTEMU_TOPIC"); name == "" || name == topic.String() {
					f.try(t, uint64(envInt("PTEMU_SEED", seed)+i), topic)
				}
			}
			t.Logf("%s: %v", f.m.k.Release(), f.all)
			for kind, n := range f.kinds {
				t.Logf("%d times: %s", n, kind)
			}
		})
	}
}

// finder looks for programs that differ.
type finder struct {
	m     *machine
	emu   *litmus.Emulator // is asked what there is
	all   compare.Counts
	kinds map[string]int
}

func (f *finder) has(op *litmus.Op) bool {
	return f.m.k.NotHere(op) == "" && f.emu.NotHere(op) == ""
}

func (f *finder) try(t *testing.T, seed uint64, topic gen.Topic) {
	p := gen.Program(seed, gen.Options{Topic: topic, Has: f.has, Without: strings.Split(os.Getenv("PTEMU_WITHOUT"), ",")})
	r, err := f.m.both(p)
	if err != nil { // a machine too busy does not answer in time; once more, on the new one
		r, err = f.m.both(p)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", p.Name, err, p)
		return
	}
	f.all.Add(r.Counts)
	if len(r.Differences) == 0 {
		return
	}
	first := r.Differences
	less := gen.Reduce(p, envInt("PTEMU_BUDGET", 60), func(p *litmus.Program) bool {
		r, err := f.m.both(p)
		return err == nil && len(r.Differences) > 0
	})
	if r, err = f.m.both(less); err != nil || len(r.Differences) == 0 {
		t.Errorf("%s: comes and goes (%v)\n%s", p.Name, err, p)
		report(t, p, first)
		return
	}
	kind := fmt.Sprintf("%s: %s", r.Differences[0].Line.Op.Verb, r.Differences[0].What)
	f.kinds[kind]++
	if f.kinds[kind] <= 3 {
		t.Errorf("%s\n%s", p.Name, less)
		report(t, less, r.Differences)
	} else {
		t.Errorf("%s: another of %s", p.Name, kind)
	}
	if dir := os.Getenv("PTEMU_FOUND"); dir != "" {
		text := r.B.Litmus(r.Differences).String()
		if err := os.WriteFile(filepath.Join(dir, f.m.release+"-"+p.Name+litmus.Ext), []byte(text), 0o666); err != nil {
			t.Error(err)
		}
	}
}
