package space

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
)

// TestWorkers: everything is done once, however many work; the first error by number is the one that is returned, and
// nothing much is begun after it.
func TestWorkers(t *testing.T) {
	for _, jobs := range []int{0, 1, 4, 200} {
		const n = 100
		w := Workers{Jobs: jobs}
		var done [n]atomic.Int64
		if err := w.Each(t.Context(), "", n, func(i int) error { done[i].Add(1); return nil }); err != nil {
			t.Fatal(err)
		}
		for i := range done {
			if got := done[i].Load(); got != 1 {
				t.Errorf("%d jobs: number %d was done %d times", jobs, i, got)
			}
		}
		var begun atomic.Int64
		err := w.Each(t.Context(), "", n, func(i int) error {
			begun.Add(1)
			if i == 5 || i == 7 {
				return fmt.Errorf("number %d", i)
			}
			return nil
		})
		if err == nil || err.Error() != "number 5" {
			t.Errorf("%d jobs: %v", jobs, err)
		}
		if got := begun.Load(); jobs == 1 && got != 6 {
			t.Errorf("%d were begun, 6 up to the error", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err = w.Each(ctx, "", n, func(int) error { t.Error("begun after the end"); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%d jobs: %v", jobs, err)
		}
	}
}
