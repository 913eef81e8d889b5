package ptlitmus

import (
	"context"
	"errors"
	"testing"
	"time"

	"ptemu/litmus"
)

const slow = `map a 1 rw
write a 0
expect a 0 rw
`

// TestProgramWithoutEnd: a program that hangs in its second step fails there when its time is over; the user's patience may end
// before.
func TestProgramWithoutEnd(t *testing.T) {
	p, err := litmus.Parse("slow.pt", slow)
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	defer close(release)
	hang := func(o litmus.Observer) (litmus.Result, error) {
		o.Before(&p.Steps[1])
		<-release
		return litmus.Result{}, nil
	}
	res, err := limited(t.Context(), 10*time.Millisecond, p, litmus.RunOn{Kernel: "7.2"}, hang)
	const want = "slow.pt:2:1: write   a 0: no end of the test after 10ms"
	if err != nil || res.Verdict != litmus.Fail || len(res.Failures) != 1 || res.Failures[0].Error() != want {
		t.Errorf("%v, %+v; want %s", err, res, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := limited(ctx, time.Hour, p, litmus.RunOn{Kernel: "7.2"}, hang); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
