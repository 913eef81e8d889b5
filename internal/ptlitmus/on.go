package ptlitmus

import (
	"context"
	"errors"
	"strings"

	"ptemu/conformance/kernel"
	"ptemu/litmus"
)

// runner runs a program in one of the ways that it is to be run.
type runner interface {
	run(ctx context.Context, p *litmus.Program, on litmus.RunOn) (litmus.Result, error)
	close() error
}

// emulated runs programs on the emulator.
type emulated struct{}

func (emulated) run(_ context.Context, p *litmus.Program, on litmus.RunOn) (litmus.Result, error) {
	return litmus.Emulate(p, on)
}

func (emulated) close() error { return nil }

// running runs programs on running kernels. A kernel is booted when it is needed first.
type running map[string]*kernel.Kernel

func (r running) run(ctx context.Context, p *litmus.Program, on litmus.RunOn) (litmus.Result, error) {
	k := r[on.Kernel]
	if k == nil {
		var err error
		if k, err = kernel.Open(ctx, kernel.Config{Kernel: on.Kernel}); err != nil {
			return litmus.Result{}, err
		}
		r[on.Kernel] = k
	}
	t, err := k.Fresh(ctx, p)
	var not interface{ NotHere() string }
	if errors.As(err, &not) {
		return litmus.Result{Program: p, Kernel: on.Kernel, Verdict: litmus.NotHere, Reason: not.NotHere()}, nil
	} else if err != nil {
		return litmus.Result{}, err
	}
	res := litmus.Run(p, t, litmus.Release(k.Release()), "", litmus.Observer{}) // which may have what came with an update
	res.Kernel = on.Kernel
	return res, t.Close()
}

func (r running) close() error {
	var all error
	for _, k := range r {
		all = errors.Join(all, k.Close())
	}
	return all
}

// runnerFor returns where programs are to run, and on which releases: on is the flag --on, or "".
func runnerFor(on, kernels string) (runner, []string, error) {
	if on == "" {
		names, err := kernelsNamed(kernels)
		return emulated{}, names, err
	}
	list, ok := strings.CutPrefix(on, "qemu:")
	if !ok {
		return nil, nil, usagef("--on %s: want qemu:RELEASE, such as qemu:7.2, or qemu:all", on)
	}
	names, err := kernelsNamed(list)
	return running{}, names, err
}

// ways returns in which ways p is run by r: historic behaviours are the emulator's only.
func ways(r runner, p *litmus.Program) (all []litmus.RunOn) {
	_, real := r.(running)
	for _, on := range p.Runs() {
		if !real || on.Policy == "" {
			all = append(all, on)
		}
	}
	return all
}
