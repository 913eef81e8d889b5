//go:build !(linux && amd64)

package kernel

import (
	"context"
	"fmt"

	"ptemu/conformance/vm"
	"ptemu/litmus"
)

// Kernel is nothing here: guests are run on Linux, amd64, only.
type Kernel struct{}

// Open always fails, with an error that wraps [vm.ErrNotPrepared].
func Open(context.Context, Config) (*Kernel, error) {
	return nil, fmt.Errorf("kernels are run on Linux, amd64, only: %w", vm.ErrNotPrepared)
}

// Release returns nothing.
func (k *Kernel) Release() string { return "" }

// Console returns nothing.
func (k *Kernel) Console() []byte { return nil }

// NotHere always has a reason.
func (k *Kernel) NotHere(*litmus.Op) string { return "no kernel" }

// Fresh always fails.
func (k *Kernel) Fresh(context.Context, *litmus.Program) (litmus.Target, error) {
	return nil, vm.ErrNotPrepared
}

// Close does nothing.
func (k *Kernel) Close() error { return nil }
