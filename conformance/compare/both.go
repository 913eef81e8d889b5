package compare

import (
	"errors"
	"fmt"

	"ptemu/litmus"
)

// Both runs the program on the emulator of a release and on what fresh gives, and compares.
func Both(p *litmus.Program, kernel string, fresh func(*litmus.Program) (litmus.Target, error)) (d []Difference, n Counts, err error) {
	e, err := litmus.NewEmulator(p, kernel, "")
	if err != nil {
		return nil, n, err
	}
	a, err := runAndClose(p, e, kernel)
	if err != nil {
		return nil, n, fmt.Errorf("emulator: %w", err)
	}
	if a.NotHere != "" {
		return nil, Counts{NotHere: 1}, nil
	}
	t, err := fresh(p)
	if err != nil {
		return nil, n, err
	}
	b, err := runAndClose(p, t, kernel)
	if err != nil {
		return nil, n, fmt.Errorf("kernel: %w", err)
	}
	d, n = Compare(a, b)
	return d, n, nil
}

// runAndClose runs the program on t and closes it. What panics is an error.
func runAndClose(p *litmus.Program, t litmus.Target, kernel string) (r *Record, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	r, err = Run(p, t, kernel)
	return r, errors.Join(err, t.Close())
}
