//go:build linux && amd64

package kernel

import (
	"errors"
	"fmt"
	"time"

	"ptemu/conformance/vm"
	"ptemu/conformance/wire"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// errnoError turns the result of a system call into an error.
func errnoError(r uint64) error {
	const last = 4095
	if n := -int64(r); n > 0 && n <= last {
		return unix.Errno(n)
	}
	return nil
}

// ring has the process do something. One that does not answer is in a call that does not return, which nothing ends: with
// it, the machine is of no more use.
func (p *process) ring(op uint64, args ...uint64) error {
	if p.k.fatal != nil {
		return p.k.fatal
	}
	err := p.slot.Ring(op, args...)
	if err != nil && !errors.Is(err, vm.ErrDied) {
		p.k.fatal = fmt.Errorf("the call does not return, the machine is given up: %w", err)
		return p.k.fatal
	}
	return err
}

// call makes a system call in the process.
func (p *process) call(nr uint64, args ...uint64) (uint64, error) {
	if err := p.ring(wire.OpSyscall, append([]uint64{nr}, args...)...); err != nil {
		return 0, err
	}
	r := p.slot.Word(wire.Result)
	return r, errnoError(r)
}

// call makes a system call in process 1.
func (k *Kernel) call(nr uint64, args ...uint64) (uint64, error) {
	if err := k.ring(wire.OpSyscall, append([]uint64{nr}, args...)...); err != nil {
		return 0, err
	}
	r := k.init.Word(wire.Result)
	return r, errnoError(r)
}

// at is where process 1 sees byte i of its data.
func (k *Kernel) at(i int) uint64 { return wire.DataAddress(0) + uint64(i) }

// open opens a file of the guest in process 1.
func (k *Kernel) open(name string, flags uint64) (uint64, error) {
	k.init.Data()[copy(k.init.Data(), name)] = 0
	return k.call(unix.SYS_OPEN, k.at(0), flags|unix.O_CLOEXEC, 0)
}

// at is where the process sees byte i of its data.
func (p *process) at(i int) uint64 { return wire.DataAddress(p.n) + uint64(i) }

// text puts a string into the process's data and returns where it is.
func (p *process) text(i int, s string) uint64 {
	p.slot.Data()[i+copy(p.slot.Data()[i:], s)] = 0
	return p.at(i)
}

// wrongError is contents that are not as a step says.
type wrongError string

func (e wrongError) Error() string { return string(e) }

// outcome says how a call ended.
func outcome(err error) litmus.Outcome {
	var errno unix.Errno
	var wrong wrongError
	var fault faultError
	switch {
	case err == nil:
		return litmus.Outcome{}
	case errors.As(err, &wrong):
		return litmus.Outcome{Wrong: string(wrong)}
	case errors.As(err, &fault):
		return litmus.Outcome{Faults: string(fault)}
	case errors.Is(err, vm.ErrDied):
		return litmus.Outcome{Faults: "killed"}
	case errors.Is(err, vm.ErrStuck): // the process still tries
		return litmus.Outcome{Errno: "ERESTARTNOINTR"}
	case errors.As(err, &errno):
		if name := unix.ErrnoName(errno); name != "" {
			return litmus.Outcome{Errno: name}
		}
	}
	return litmus.Outcome{Err: err}
}

// opFunc carries out one verb.
type opFunc func(t *Target, c *litmus.Call, p *process) error

// Do implements [litmus.Target].
func (t *Target) Do(c *litmus.Call) litmus.Outcome {
	if time.Now().After(t.deadline) {
		return litmus.Outcome{Err: fmt.Errorf("the program runs for more than %v", t.k.cfg.patience())}
	}
	p := t.processes[c.Process]
	if p == nil {
		return litmus.Outcome{Err: fmt.Errorf("there is no process %s any more", c.Process)}
	}
	t.running[max(c.CPU, 0)] = p
	switch c.Op.Verb {
	case "read", "write", "exec":
		return t.access(c, p)
	}
	if f := find(c.Op.Verb); f != nil {
		return outcome(f(t, c, p))
	}
	return litmus.Outcome{Err: fmt.Errorf("%s: %s", c.Op.Verb, t.NotHere(c.Op))}
}

// find returns what carries out a verb, nil if nothing does.
func find(verb string) opFunc {
	for _, ops := range []map[string]opFunc{spaceOps, uffdOps, pageOps, fileOps, holdOps, kernelOps} {
		if f := ops[verb]; f != nil {
			return f
		}
	}
	return nil
}
