//go:build linux && amd64

package host

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"ptemu/litmus"
)

// Result is what came of a program.
type Result struct {
	NotHere     string   // why it cannot run
	Agrees      []string // the releases with which all of it agrees
	Runs        int      // on the host
	Steps       int      // compared; with the release that agrees, else with the newest
	Pages       int
	Differences map[string][]Difference // by release; of the first step that has some
	Passed      map[string]int          // what was passed over (see Tolerances), with the release that agrees
}

// tries is how often a program is run, because of noise.
const tries = 3

// Compare runs the program on the emulator, as every release in question, and on the host, and compares. An error says that
// something went wrong other than what is compared.
func (h *Host) Compare(p *litmus.Program) (Result, error) {
	r := Result{NotHere: h.programNotHere(p), Differences: map[string][]Difference{}}
	if r.NotHere != "" {
		return r, nil
	}
	var err error
	for range tries {
		r.Runs++
		if err = h.once(p, &r); r.NotHere != "" || err == nil && len(r.Agrees) > 0 {
			break
		}
		if err != nil {
			err = errors.Join(err, h.restart())
		}
	}
	return r, err
}

// once runs the program once for every release in question.
func (h *Host) once(p *litmus.Program, r *Result) error {
	clear(r.Differences)
	ran := false
	var why string
	for _, kernel := range h.Kernels {
		c, notHere, err := h.with(p, kernel)
		if err != nil {
			return fmt.Errorf("%s: %w", kernel, err)
		}
		if notHere != "" {
			why = notHere
			continue
		}
		if len(c.found) > 0 {
			r.Differences[kernel] = c.found
		} else {
			r.Agrees = append(r.Agrees, kernel)
		}
		if !ran || len(c.found) == 0 {
			r.Steps, r.Pages, r.Passed = c.steps, c.pages, c.passed
		}
		ran = true
	}
	if !ran {
		r.NotHere = why
	}
	return nil
}

// with compares the host with the emulator as one release.
func (h *Host) with(p *litmus.Program, kernel string) (c *comparer, notHere string, err error) {
	ops := operations(p, kernel)
	e, err := litmus.NewEmulator(p, kernel, "")
	if err != nil {
		return nil, "", err
	}
	all := h.categories(&e.Machine().Policy)
	a, err := run(ops, emulator{e}, kernel, all)
	if err != nil || a.notHere != "" {
		return nil, a.notHere, err
	}
	t, err := h.fresh(p)
	if err != nil {
		return nil, "", err
	}
	b, err := run(ops, t, kernel, all)
	if err != nil || b.notHere != "" {
		return nil, b.notHere, err
	}
	c = newComparer(&h.has)
	c.compare(a, b)
	return c, "", nil
}

// Figures counts results.
type Figures struct {
	Programs, NotHere, Steps, Pages, Differ, Again int
	Only                                           map[string]int // programs that agree with one release only
	Passed                                         map[string]int // pages and ends that were passed over: see Tolerances
}

// NewFigures returns figures of nothing.
func NewFigures() *Figures { return &Figures{Only: map[string]int{}, Passed: map[string]int{}} }

// Add counts a result.
func (f *Figures) Add(r *Result) {
	if r.NotHere != "" {
		f.NotHere++
		return
	}
	f.Programs++
	for name, n := range r.Passed {
		f.Passed[name] += n
	}
	f.Steps += r.Steps
	f.Pages += r.Pages
	if len(r.Agrees) == 0 {
		f.Differ++
	} else if r.Runs > 1 {
		f.Again++
	}
	if len(r.Agrees) == 1 && len(r.Differences) > 0 {
		f.Only[r.Agrees[0]]++
	}
}

func (f *Figures) String() string {
	s := fmt.Sprintf("%d programs (%d more cannot run here), %d steps, %d pages compared, %d programs differ, %d agreed only when run again",
		f.Programs, f.NotHere, f.Steps, f.Pages, f.Differ, f.Again)
	for _, kernel := range slices.Sorted(maps.Keys(f.Only)) {
		s += fmt.Sprintf(", %d agree with %s only", f.Only[kernel], kernel)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Passed)) {
		s += fmt.Sprintf("; passed over: %d %s", f.Passed[name], name)
	}
	return s
}
