package vectors

import (
	"maps"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// function is our side of a kernel function: its number of inputs and the call.
type function struct {
	args int
	call func(c *Config, in []uint64) uint64
}

// functions maps the names in the files to our calls. A name "f@shstk" is f on a processor with shadow stacks.
var functions = merge(pteFunctions, pmdFunctions, pudFunctions, upperFunctions, protFunctions, addressFunctions,
	swapFunctions, swapFlagFunctions)

func merge(tables ...map[string]function) map[string]function {
	all := map[string]function{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// The following turn a method expression into a function: a value or a predicate (0 or 1) of one input, plain or
// with the ABI or the layout beside it.

func value[E, R ~uint64](f func(E) R) function {
	return function{1, func(_ *Config, in []uint64) uint64 { return uint64(f(E(in[0]))) }}
}

func valueABI[E, R ~uint64](f func(E, *x86.ABI) R) function {
	return function{1, func(c *Config, in []uint64) uint64 { return uint64(f(E(in[0]), c.ABI)) }}
}

func valueIn[E, R ~uint64](f func(*swapentry.Layout, E) R) function {
	return function{1, func(c *Config, in []uint64) uint64 { return uint64(f(c.Layout, E(in[0]))) }}
}

func pred[E ~uint64](f func(E) bool) function {
	return function{1, func(_ *Config, in []uint64) uint64 { return bit(f(E(in[0]))) }}
}

func predABI[E ~uint64](f func(E, *x86.ABI) bool) function {
	return function{1, func(c *Config, in []uint64) uint64 { return bit(f(E(in[0]), c.ABI)) }}
}

func predShstk[E ~uint64](f func(E, *x86.ABI) bool) function {
	return function{1, func(c *Config, in []uint64) uint64 { return bit(f(E(in[0]), c.Shstk)) }}
}

func predIn[E ~uint64](f func(*swapentry.Layout, E) bool) function {
	return function{1, func(c *Config, in []uint64) uint64 { return bit(f(c.Layout, E(in[0]))) }}
}

func predOf(f func(swapentry.Swp, *swapentry.Layout) bool) function {
	return function{1, func(c *Config, in []uint64) uint64 { return bit(f(swapentry.Swp(in[0]), c.Layout)) }}
}

func modify[E ~uint64](f func(E, *x86.ABI, x86.Prot) E) function {
	return function{2, func(c *Config, in []uint64) uint64 { return uint64(f(E(in[0]), c.ABI, x86.Prot(in[1]))) }}
}

// maybeMkWrite calls f for an area with the given flags.
func maybeMkWrite[E ~uint64](f func(E, *x86.ABI, x86.VMFlags) E, area x86.VMFlags) function {
	return function{1, func(c *Config, in []uint64) uint64 { return uint64(f(E(in[0]), c.ABI, area)) }}
}

func fromPFN[E ~uint64](f func(*x86.ABI, x86.PFN, x86.Prot) E) function {
	return function{2, func(c *Config, in []uint64) uint64 {
		return uint64(f(c.ABI, x86.PFN(in[0]), x86.Prot(in[1])))
	}}
}

func permitted[E ~uint64](f func(E, bool, uint32) bool) function {
	return function{3, func(_ *Config, in []uint64) uint64 {
		return bit(f(E(in[0]), in[1] != 0, uint32(in[2])))
	}}
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
