package space

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"ptemu/internal/ptdump/report"
)

// Workers walk several trees at a time, and show how far they are.
type Workers struct {
	Jobs     int       // at a time; 0: as many as there are processors
	Terminal io.Writer // where progress is shown, if it is a terminal
}

// Each runs do for the numbers below n with a bar of progress that is called what, and returns the first error by number.
// After an error or the end of ctx no more are begun.
func (w Workers) Each(ctx context.Context, what string, n int, do func(i int) error) error {
	bar := report.StartProgress(w.Terminal, what, n)
	defer bar.Stop()
	return each(ctx, w.Jobs, n, func(i int) error {
		defer bar.One()
		return do(i)
	})
}

// each runs do for the numbers below n, on as many goroutines as jobs says (0: as many as there are processors), and
// returns the first error by number. After an error or the end of ctx no more are begun.
func each(ctx context.Context, jobs, n int, do func(i int) error) error {
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	var (
		next   atomic.Int64
		failed atomic.Bool
		wait   sync.WaitGroup
		errs   = make([]error, n)
	)
	for range min(jobs, n) {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || failed.Load() || ctx.Err() != nil {
					return
				}
				if errs[i] = do(i); errs[i] != nil {
					failed.Store(true)
				}
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return errors.Join(ctx.Err())
}
