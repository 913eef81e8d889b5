package compare

import (
	"errors"
	"fmt"
	"slices"

	"ptemu/arch/x86"
	"ptemu/litmus"
	"ptemu/mm"
	"ptemu/pgtable"
)

// Result is what came of a program on two targets.
type Result struct {
	A, B        *Record
	Differences []Difference
	Counts      Counts
	NotHere     string // why one of them cannot run it
}

// Both runs the program on the emulator of a release, "6.12" or one of its stable updates, and on what fresh gives, and
// compares. The emulator's swap device is one that is read without the swap cache, as a RAM disk is. An error of fresh that has a method NotHere() string is no
// failure.
func Both(p *litmus.Program, kernel string, fresh func(*litmus.Program) (litmus.Target, error)) (r Result, err error) {
	e, err := litmus.NewEmulator(withSwapDirect(p), kernel, "")
	if err != nil {
		return r, err
	}
	if err := addStack(e); err != nil {
		return r, errors.Join(err, e.Close())
	}
	if r.A, err = runAndClose(p, flushing{e}, kernel); err != nil {
		return r, fmt.Errorf("emulator: %w", err)
	}
	t, err := fresh(p)
	var not interface{ NotHere() string }
	switch {
	case errors.As(err, &not):
		r.NotHere, r.Counts = not.NotHere(), Counts{NotHere: 1}
		return r, nil
	case err != nil:
		return r, err
	}
	r.B, err = runAndClose(p, t, kernel)
	switch {
	case errors.As(err, &not): // seen only on the way
		r.NotHere, r.Counts = not.NotHere(), Counts{NotHere: 1}
		return r, nil
	case err != nil:
		return r, fmt.Errorf("kernel: %w", err)
	}
	if r.NotHere = r.A.NotHere; r.NotHere == "" {
		r.NotHere = r.B.NotHere
	}
	r.Differences, r.Counts = Compare(r.A, r.B)
	return r, nil
}

// addStack gives the first process an area above all that programs use, as a stack is: calls about a range without an area
// fail otherwise where there is none above it either.
func addStack(e *litmus.Emulator) error {
	const at, pages = 0x7ffff0000000, 32
	c := e.Machine().CPU(0)
	if err := c.Run(e.Process(litmus.DefaultProcess)); err != nil {
		return err
	}
	_, err := c.Mmap(mm.MmapArgs{Addr: at, Length: pages * x86.PageSize, Prot: mm.ProtRead | mm.ProtWrite, Flags: mm.MapFixed})
	return err
}

// withSwapDirect returns the program for a machine with such a swap device.
func withSwapDirect(p *litmus.Program) *litmus.Program {
	q := *p
	if op := (litmus.Op{Options: p.Machine}); !op.Has("swap-direct") {
		q.Machine = append(slices.Clone(p.Machine), litmus.Option{Name: "swap-direct"})
	}
	return &q
}

// flushing is an emulator whose processors forget all translations between steps. So does the guest's: between steps it
// runs process 1, and QEMU has no PCID. What a stale translation does is for programs that the emulator runs alone.
type flushing struct{ *litmus.Emulator }

func (f flushing) Do(c *litmus.Call) litmus.Outcome {
	out := f.Emulator.Do(c)
	m := f.Machine()
	for _, s := range m.Spaces() {
		m.FlushTLB(s.Tree(), pgtable.Flush{All: true})
	}
	return out
}

// Raw returns what is in leaf position at an address of a process, without the page behind it.
func (f flushing) Raw(process string, va x86.Virt) (litmus.Entry, error) {
	e := litmus.Entry{Level: x86.LevelPTE}
	s := f.Process(process)
	if s == nil {
		return e, fmt.Errorf("there is no process %s any more", process)
	}
	var steps [x86.LevelPGD]pgtable.Entry
	for _, w := range s.Tree().Walk(va, steps[:0]) {
		e.Level, e.Raw = w.Level, w.Value
	}
	if e.Level > x86.LevelPMD || e.Level == x86.LevelPMD && e.Raw == 0 {
		return litmus.Entry{Level: x86.LevelPTE}, nil
	}
	return e, nil
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
