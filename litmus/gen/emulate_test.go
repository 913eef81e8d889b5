package gen_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ptemu/litmus"
	"ptemu/litmus/gen"
)

// lenient is an emulator whose operations may end as they like, if the machine is sound after each.
type lenient struct {
	*litmus.Emulator
	ran int
	bad error
}

func (l *lenient) Do(c *litmus.Call) litmus.Outcome {
	if l.bad != nil {
		return litmus.Outcome{}
	}
	l.ran++
	out := l.Emulator.Do(c)
	if l.bad = out.Err; l.bad == nil {
		l.bad = l.Machine().Check()
	}
	if l.bad != nil {
		l.bad = fmt.Errorf("step %d, %s: %w", l.ran, c.Op.Verb, l.bad)
	}
	return litmus.Outcome{Taken: out.Taken}
}

// emulate runs the program as a release.
func emulate(p *litmus.Program, kernel string) (ran int, err error) {
	e, err := litmus.NewEmulator(p, kernel, "")
	if err != nil {
		return 0, err
	}
	l := &lenient{Emulator: e}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("step %d: panic: %v", l.ran, v)
		}
	}()
	r := litmus.Run(p, l, kernel, "", litmus.Observer{})
	if l.bad != nil {
		return l.ran, l.bad
	}
	if r.Verdict == litmus.Fail {
		return l.ran, fmt.Errorf("%v", r.Failures)
	}
	return l.ran, e.Close()
}

// TestEmulated: the programs that are held against running kernels (package conformance) run on the emulator, as every release,
// and [mm.Machine.Check] finds nothing after any step: some that are always the same, and some that are always others.
func TestEmulated(t *testing.T) {
	fixed, free := uint64(6), uint64(6)
	if testing.Short() {
		fixed, free = 3, 3
	}
	first := rand.Uint64N(1 << 32)
	var seeds []uint64
	for i := range fixed {
		seeds = append(seeds, i)
	}
	for i := range free {
		seeds = append(seeds, first+i)
	}
	for _, kernel := range litmus.Kernels() {
		programs, steps := 0, 0
		asked, err := litmus.NewEmulator(&litmus.Program{}, kernel, "")
		if err != nil {
			t.Fatal(err)
		}
		has := func(op *litmus.Op) bool { return asked.NotHere(op) == "" }
		for _, topic := range gen.Topics() {
			for _, seed := range seeds {
				p := gen.Program(seed, gen.Options{Topic: topic, Has: has})
				n, err := emulate(p, kernel)
				if err != nil {
					less := gen.Reduce(p, 400, func(p *litmus.Program) bool { _, err := emulate(p, kernel); return err != nil })
					t.Errorf("%s on %s: %v\n%s", p.Name, kernel, err, less)
				}
				programs++
				steps += n
			}
		}
		t.Logf("%s: %d programs, %d steps, seeds from %d", kernel, programs, steps, first)
		if steps < 20*programs {
			t.Errorf("%s: only %d steps in %d programs", kernel, steps, programs)
		}
		if err := asked.Close(); err != nil {
			t.Error(err)
		}
	}
}
