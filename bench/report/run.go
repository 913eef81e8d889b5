package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"ptemu/arch/x86"
	"ptemu/bench"
)

// Report is what is kept of a run.
type Report struct {
	Host Host        `json:"host"`
	Rows []bench.Row `json:"rows"`
}

func (o *options) run(out, progress io.Writer) error {
	if o.rounds < minRounds {
		return fmt.Errorf("%d rounds: at least %d are needed for quartiles", o.rounds, minRounds)
	}
	if o.kernelPTEs < x86.EntriesPerTable {
		return fmt.Errorf("%d pages for the kernel: at least %d are needed", o.kernelPTEs, x86.EntriesPerTable)
	}
	if o.quick {
		o.rounds, o.time = minRounds, time.Millisecond
	}
	if o.quiet {
		progress = io.Discard
	}
	sizes, err := o.chosenSizes()
	if err != nil {
		return err
	}
	cases := o.chosenCases()
	if len(cases) == 0 {
		return fmt.Errorf("no case has a name with %q", o.cases)
	}
	r := Report{Host: thisHost(o)}
	if r.Rows, err = o.measure(cases, sizes, progress); err != nil {
		return err
	}
	return o.write(&r, out)
}

func (o *options) chosenSizes() (sizes []uint64, err error) {
	all := bench.Sizes()
	if o.quick {
		all = all[:1]
	}
	for _, name := range o.sizes {
		i := slices.IndexFunc(bench.Sizes(), func(n uint64) bool { return bench.SizeName(n) == name })
		if i < 0 {
			return nil, fmt.Errorf("no size %q: want 256KiB, 8MiB, 128MiB or 1GiB", name)
		}
		sizes = append(sizes, bench.Sizes()[i])
	}
	if len(sizes) == 0 {
		sizes = all
	}
	return sizes, nil
}

func (o *options) chosenCases() (cases []bench.Case) {
	for _, c := range bench.Cases() {
		if len(o.cases) == 0 || slices.ContainsFunc(o.cases, func(s string) bool { return chosen(c.Name, s) }) {
			cases = append(cases, c)
		}
	}
	return cases
}

// chosen reports whether s means the case: it is its name, or a part of it and no case's name.
func chosen(name, s string) bool {
	whole := slices.ContainsFunc(bench.Cases(), func(c bench.Case) bool { return c.Name == s })
	return name == s || !whole && strings.Contains(name, s)
}

// measure runs the cases on tables of each size and order; those of one size and order share the memory.
func (o *options) measure(cases []bench.Case, sizes []uint64, progress io.Writer) (rows []bench.Row, err error) {
	if _, err := bench.Pin(); err != nil {
		fmt.Fprintln(progress, "report:", err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // between the cases, not in them
	for _, size := range sizes {
		for _, order := range []bench.Order{bench.Contiguous, bench.Shuffled} {
			some, err := o.measureSet(cases, size, order, progress)
			if err != nil {
				return nil, err
			}
			rows = append(rows, some...)
		}
	}
	bench.PerBreak(rows)
	return rows, nil
}

func (o *options) measureSet(cases []bench.Case, size uint64, order bench.Order, progress io.Writer) (rows []bench.Row, err error) {
	var mine []bench.Case
	for _, c := range cases {
		if slices.Contains(c.Orders(), order) && c.Fits(size) && (!o.brief || bench.SizeName(size) != inDRAM || aimedAt(c.Name, order)) {
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 {
		return nil, nil
	}
	s, err := bench.NewSet(x86.Linux6_12(), size, order)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.KernelPTEs = o.kernelPTEs
	for _, c := range mine {
		fmt.Fprintf(progress, "%s %s %s: ", bench.SizeName(size), order, c.Name)
		start := time.Now()
		all, err := c.Prepare(s)
		if err != nil {
			return nil, err
		}
		results, err := c.Measure(all, bench.Options{Rounds: o.rounds, Time: o.time})
		if err != nil {
			return nil, err
		}
		rows = append(rows, c.Rows(bench.SizeName(size), order, results)...)
		fmt.Fprintf(progress, "%.1fs\n", time.Since(start).Seconds())
		debug.FreeOSMemory()
	}
	return rows, nil
}

// write writes the report in all forms that were asked for.
func (o *options) write(r *Report, out io.Writer) error {
	if err := writeText(out, r, plain); err != nil {
		return err
	}
	for _, f := range []struct {
		name  string
		write func(w io.Writer) error
	}{
		{o.json, r.writeJSON},
		{o.svg, r.writeSVG},
		{o.markdown, func(w io.Writer) error { return writeText(w, r, markdown) }},
	} {
		if f.name == "" {
			continue
		}
		if err := writeFile(f.name, f.write); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(name string, write func(w io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
