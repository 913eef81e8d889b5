//go:build invariants || race

package pgtable

import (
	"runtime"
	"sync/atomic"
)

// watch notices a Gather that the garbage collector finds with debts: someone forgot to finish it.
type watch struct {
	token *byte
	owed  *atomic.Bool
}

// dropped, unless nil, is called instead of a panic: for the test.
var dropped atomic.Pointer[func()]

func (w *watch) start() {
	w.token, w.owed = new(byte), new(atomic.Bool)
	*w.token = 1
	runtime.AddCleanup(w.token, func(owed *atomic.Bool) {
		if !owed.Load() {
			return
		}
		if f := dropped.Load(); f != nil {
			(*f)()
			return
		}
		panic("pgtable: a Gather that owes a flush was dropped without Finish")
	}, w.owed)
}

func (w *watch) owe(yes bool) { w.owed.Store(yes) }
