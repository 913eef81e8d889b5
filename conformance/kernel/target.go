//go:build linux && amd64

package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
	handles   map[string]*handle
	running   map[int]*process // by processor: as the program has it, not as the guest has
	deadline  time.Time
}

// process is a process of the guest.
type process struct {
	k       *Kernel
	name    string
	slot    *vm.Slot
	n       int
	pid     int
	root    x86.PFN
	uffd    int    // descriptor, -1: none
	sigbus  bool   // the program asked for SIGBUS itself
	watched uint64 // the same userfaultfd in process 1, which reads its events; 0: it has none
	scan    int    // of /proc/self/pagemap, -1: not open
	company bool   // it has a second thread
	pkeys   int    // allocated
	pkru    uint64
}

// newTarget returns a target without a process. The time of its program begins now.
func newTarget(ctx context.Context, k *Kernel) *Target {
	return &Target{
		k: k, ctx: ctx, deadline: time.Now().Add(k.cfg.patience()), processes: map[string]*process{}, files: map[string]string{},
		handles: map[string]*handle{}, running: map[int]*process{},
	}
}

// Fresh ends what the program before left and makes the first process of p. A machine that has been given up is booted
// again.
func (k *Kernel) Fresh(ctx context.Context, p *litmus.Program) (litmus.Target, error) {
	if k.fatal != nil {
		if err := k.reboot(ctx); err != nil {
			return nil, err
		}
	}
	t := newTarget(ctx, k)
	if err := t.machine(p); err != nil {
		return nil, err
	}
	// A clone of a Go program may be born into a lock of its runtime, and never come to work.
	const tries = 3
	for try := 1; ; try++ {
		err := t.spawn()
		if err == nil {
			return t, nil
		}
		if try == tries || !errors.Is(err, vm.ErrStuck) || k.fatal != nil {
			return nil, err
		}
	}
}

// spawn ends all processes and makes the first one.
func (t *Target) spawn() error {
	const first = 1
	if err := errors.Join(t.k.reset(), t.k.ring(wire.OpSpawn, first)); err != nil {
		return err
	}
	pid := t.k.init.Word(wire.Result)
	if err := errnoError(pid); err != nil {
		return fmt.Errorf("no process: %w", err)
	}
	p := &process{name: litmus.DefaultProcess, n: first, pid: int(pid)}
	if err := t.meet(p); err != nil {
		return err
	}
	if !t.k.pkeys {
		return nil
	}
	return p.setPKRU(0) // Linux begins with all keys but 0 refused
}

// reset ends all processes and releases what is held.
func (k *Kernel) reset() error {
	return errors.Join(k.ring(wire.OpReset), k.drop(slices.Clone(k.held)...), k.swapOn())
}

// meet learns a new process's root table.
func (t *Target) meet(p *process) (err error) {
	p.k, p.slot = t.k, t.k.m.Slot(p.n)
	p.uffd, p.scan = -1, -1
	if t.k.this {
		t.processes[p.name] = p
		return nil
	}
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
	if t.k.fatal != nil {
		return nil // the step has said so
	}
	return t.k.reset()
}
