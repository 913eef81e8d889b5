package ptlitmus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"ptemu/conformance/kernel"
	"ptemu/litmus"
)

// runner runs a program in one of the ways that it is to be run.
type runner interface {
	run(ctx context.Context, p *litmus.Program, on litmus.RunOn) (litmus.Result, error)
	close() error
}

// emulated runs programs on the emulator.
type emulated struct{ limit time.Duration }

func (r emulated) run(ctx context.Context, p *litmus.Program, on litmus.RunOn) (litmus.Result, error) {
	return limited(ctx, r.limit, p, on, func(o litmus.Observer) (litmus.Result, error) {
		e, err := litmus.NewEmulator(p, on.Kernel, on.Policy)
		if err != nil {
			return litmus.Result{}, err
		}
		res := litmus.Run(p, e, on.Kernel, on.Policy, o)
		return res, e.Close()
	})
}

func (emulated) close() error { return nil }

// running runs programs on running kernels. A kernel is booted when it is needed first.
type running struct {
	config  kernel.Config
	kernels map[string]*kernel.Kernel
}

func (r *running) run(ctx context.Context, p *litmus.Program, on litmus.RunOn) (litmus.Result, error) {
	k := r.kernels[on.Kernel]
	if k == nil {
		config := r.config
		config.Kernel = on.Kernel
		var err error
		if k, err = kernel.Open(ctx, config); err != nil {
			return litmus.Result{}, err
		}
		r.kernels[on.Kernel] = k
	}
	p = p.WithLevels(r.config.Levels)
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

func (r *running) close() error {
	var all error
	for _, k := range r.kernels {
		all = errors.Join(all, k.Close())
	}
	return all
}

// machineWords are what --on may say of the machine, behind the releases.
var machineWords = map[string]func(*kernel.Config){
	"la57": func(c *kernel.Config) { c.Levels = 5 },
	"pti":  func(c *kernel.Config) { c.PTI = true },
}

// runnerFor returns where programs are to run, and on which releases.
func runnerFor(f runFlags) (runner, []string, error) {
	if f.on == "" {
		names, err := kernelsNamed("--kernel", f.kernel)
		return emulated{f.timeout}, names, err
	}
	list, ok := strings.CutPrefix(f.on, "qemu:")
	if !ok {
		return nil, nil, usagef("--on %s: want qemu:RELEASE, such as qemu:7.2 or qemu:7.2,la57, or qemu:all", f.on)
	}
	r := &running{config: kernel.Config{Patience: f.timeout}, kernels: map[string]*kernel.Kernel{}}
	releases := slices.DeleteFunc(strings.Split(list, ","), func(word string) bool {
		set := machineWords[word]
		if set != nil {
			set(&r.config)
		}
		return set != nil
	})
	names, err := kernelsNamed("--on", strings.Join(releases, ","))
	return r, names, err
}

// ways returns in which ways p is run by r: historic behaviours are the emulator's only.
func ways(r runner, p *litmus.Program) (all []litmus.RunOn) {
	_, real := r.(*running)
	for _, on := range p.Runs() {
		if !real || on.Policy == "" {
			all = append(all, on)
		}
	}
	return all
}
