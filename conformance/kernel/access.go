//go:build linux && amd64

package kernel

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"
	"ptemu/litmus"
	"ptemu/swapentry"

	"golang.org/x/sys/unix"
)

// defaultByte is what a write without = stores.
const defaultByte = 1

// bytesOf returns the bytes of each page that an operation is about: one, or all.
func bytesOf(op *litmus.Op) (first, n int) {
	if o, ok := op.Option("byte"); ok {
		return int(o.Num), 1
	}
	return 0, x86.PageSize
}

// access reads, writes or executes the pages, each on its own.
func (t *Target) access(c *litmus.Call, p *process) litmus.Outcome {
	kind, value := uint64(wire.Load), uint64(wire.Anything)
	first, n := bytesOf(c.Op)
	switch c.Op.Verb {
	case "exec":
		kind, first = wire.Exec, 0
	case "write":
		kind, value = wire.Store, c.Op.Num("=", defaultByte)
	default:
		if !c.Op.Has("=") {
			n = 1
		}
		value = c.Op.Num("=", wire.Anything)
	}
	if err := p.ring(wire.OpAccess, kind, uint64(c.At.VA)+uint64(first), value, uint64(n), uint64(c.At.Pages)); err != nil {
		return outcome(err)
	}
	last := int(p.slot.Word(wire.Result)) - 1
	out := t.refused(p, c, c.At.VA+x86.Virt(last)*x86.PageSize)
	out.Taken = int(p.slot.Word(wire.Taken))
	switch at := p.slot.Word(wire.WrongAt); {
	case out.Err != nil:
	case at != 0:
		out.Wrong = fmt.Sprintf("byte %d of the page is %d, not %d", first+int(at)-1, p.slot.Word(wire.WrongByte), value)
	case last < c.At.Pages-1:
		out.Err = fmt.Errorf("page %d ends with signal %d, otherwise than the one before", c.Op.At.First+last, p.slot.Word(wire.Signo))
	}
	return out
}

// si_code of the signals of refused accesses. Linux: include/uapi/asm-generic/siginfo.h
const (
	segvMapErr, segvAccErr, segvPkuErr  = 1, 2, 4
	busAdrErr, busMceErrAR, busMceErrAO = 2, 4, 5
)

// refused says by whom the access just made at va was refused.
func (t *Target) refused(p *process, c *litmus.Call, va x86.Virt) litmus.Outcome {
	signal, code := p.slot.Word(wire.Signo), p.slot.Word(wire.Code)
	const pageFault, fetch = 14, 16
	if c.Op.Verb == "exec" && (p.slot.Word(wire.Trap) != pageFault || p.slot.Word(wire.ErrorCode)&fetch == 0 || x86.Virt(p.slot.Word(wire.Addr)) != va) &&
		!(unix.Signal(signal) == unix.SIGBUS && code != busAdrErr) {
		return litmus.Outcome{} // the instruction was fetched; what it did does not matter
	}
	switch unix.Signal(signal) {
	case 0:
		return litmus.Outcome{}
	case unix.SIGSEGV:
		switch code {
		case segvMapErr:
			return litmus.Outcome{Faults: "segv-map"}
		case segvAccErr:
			return litmus.Outcome{Faults: "segv-access"}
		case segvPkuErr:
			return litmus.Outcome{Faults: "segv-pkey"}
		}
	case unix.SIGBUS:
		switch code {
		case busMceErrAR, busMceErrAO:
			return litmus.Outcome{Faults: "hwpoison"}
		case busAdrErr:
			return t.bus(p, c, va)
		}
	}
	return litmus.Outcome{Err: fmt.Errorf("signal %d, code %d at %v", signal, code, va)}
}

// bus tells what userfaultfd refused from what could not be had.
func (t *Target) bus(p *process, c *litmus.Call, va x86.Virt) litmus.Outcome {
	if p.uffd < 0 || p.sigbus {
		return litmus.Outcome{Faults: "bus"}
	}
	e, err := t.entry(p, va)
	if err != nil {
		return litmus.Outcome{Err: err}
	}
	present := t.k.layout.Decode(e.Level, e.Raw).Kind == swapentry.KindPresent
	if present && c.Op.Verb == "write" {
		return litmus.Outcome{Faults: "uffd-wp"}
	}
	area, ok, err := t.Area(p.name, va)
	if err != nil {
		return litmus.Outcome{Err: err}
	}
	for _, flag := range area.Flags {
		if ok && flag == "um" {
			return litmus.Outcome{Faults: "uffd-missing"}
		}
	}
	return litmus.Outcome{Faults: "bus"}
}
