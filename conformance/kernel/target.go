package kernel

import (
	"context"
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/conformance/vm"
	"ptemu/conformance/wire"
	"ptemu/litmus"
)

// Target is a kernel as a [litmus.Target], with one fresh process.
type Target struct {
	k         *Kernel
	ctx       context.Context
	processes map[string]*process
	files     map[string]string
	swapless  bool
}

// process is a process of the guest.
type process struct {
	name     string
	slot     *vm.Slot
	n        int
	pid      int
	root     x86.PFN
	uffd     int  // descriptor, -1: none
	sigbus   bool // the program asked for SIGBUS itself
	scan     int  // of /proc/self/pagemap, -1: not open
	pkeys    int  // allocated
	readable map[string]int
}

// Fresh ends what the program before left and makes the first process of p.
func (k *Kernel) Fresh(ctx context.Context, p *litmus.Program) (*Target, error) {
	if err := k.ring(wire.OpReset); err != nil {
		return nil, err
	}
	t := &Target{k: k, ctx: ctx, processes: map[string]*process{}, files: map[string]string{}}
	if err := t.machine(p); err != nil {
		return nil, err
	}
	const first = 1
	if err := k.ring(wire.OpSpawn, first); err != nil {
		return nil, err
	}
	pid := k.init.Word(wire.Result)
	if err := errnoError(pid); err != nil {
		return nil, fmt.Errorf("no process: %w", err)
	}
	return t, t.meet(&process{name: litmus.DefaultProcess, n: first, pid: int(pid)})
}

// machine sets up what the program wants of the machine.
func (t *Target) machine(p *litmus.Program) error {
	huge := "madvise"
	zero := "1"
	for _, o := range p.Machine {
		switch o.Name {
		case "huge-pages":
			huge = "always"
		case "no-huge-zero":
			zero = "0"
		}
	}
	const folder = "/sys/kernel/mm/transparent_hugepage/"
	return errors.Join(t.k.write(folder+"enabled", huge), t.k.write(folder+"use_zero_page", zero))
}

// meet learns a new process's root table.
func (t *Target) meet(p *process) (err error) {
	p.slot = t.k.m.Slot(p.n)
	p.uffd, p.scan = -1, -1
	if p.root, err = p.slot.Root(t.ctx); err != nil {
		return err
	}
	// The agent's block must be where it is.
	e, err := t.entry(p, wire.Base)
	if pfn, ok := t.pfnOf(&e); err != nil || !ok || pfn != t.k.m.BlockFrame(0) {
		return fmt.Errorf("process %s: root table %#x is not its own (%#x, %v)", p.name, uint64(p.root), e.Raw, err)
	}
	t.processes[p.name] = p
	return nil
}

// freeSlot returns a slot that no process has.
func (t *Target) freeSlot() (int, error) {
	used := [wire.Slots]bool{0: true}
	for _, p := range t.processes {
		used[p.n] = true
	}
	for n, u := range used {
		if !u {
			return n, nil
		}
	}
	return 0, fmt.Errorf("more than %d processes", wire.Slots-1)
}

// ABI implements [litmus.Target].
func (t *Target) ABI() *x86.ABI { return t.k.abi }

// errPoints is why nothing stops in the middle.
var errPoints = errors.New("a running kernel cannot be stopped at a point")

// Start implements [litmus.Target]. It always fails.
func (t *Target) Start(*litmus.Call, string) (bool, litmus.Outcome, error) {
	return false, litmus.Outcome{}, errPoints
}

// Continue implements [litmus.Target]. It always fails.
func (t *Target) Continue(int, string) (bool, litmus.Outcome, error) {
	return false, litmus.Outcome{}, errPoints
}

// Verify implements [litmus.Target]: the kernel must not have complained.
func (t *Target) Verify() error { return nil }

// Close implements [litmus.Target]: it ends the processes, not the machine.
func (t *Target) Close() error {
	err := t.k.ring(wire.OpReset)
	for _, path := range t.files {
		_ = path
	}
	return err
}
