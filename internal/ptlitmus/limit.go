package ptlitmus

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"ptemu/litmus"
)

// limited runs a program that may take as long as limit. One that takes longer fails at the step in which it is. Nothing
// stops what the emulator does, so it goes on until the command ends.
func limited(ctx context.Context, limit time.Duration, p *litmus.Program, on litmus.RunOn,
	run func(litmus.Observer) (litmus.Result, error),
) (litmus.Result, error) {
	type ended struct {
		res litmus.Result
		err error
	}
	var at atomic.Pointer[litmus.Step]
	end, start := make(chan ended, 1), time.Now()
	go func() {
		res, err := run(litmus.Observer{Before: func(s *litmus.Step) { at.Store(s) }})
		end <- ended{res, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case e := <-end:
		if e.err != nil || time.Since(start) <= limit {
			return e.res, e.err
		}
	case <-timer.C:
	case <-ctx.Done():
		return litmus.Result{}, ctx.Err()
	}
	s := at.Load()
	if s == nil { // its machine is not made yet
		s = &p.Steps[0]
	}
	failure := litmus.Error{Pos: s.Pos, Msg: fmt.Sprintf("%s: no end of the test after %v", s, limit)}
	return litmus.Result{Program: p, Kernel: on.Kernel, Policy: on.Policy, Verdict: litmus.Fail, Failures: []litmus.Error{failure}}, nil
}
