package ptdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"ptemu/physmem"
)

// opener opens a capture; see [openSession].
type opener func(context.Context, string, *machine) (*opened, error)

// work is what a command that walks tables needs.
type work struct {
	*opened
	filters []Filter // one for each range, ascending
	out     io.Writer
	colors  palette
	tally   *tally // what was found
}

// run opens what a walking command needs, in the order in which a user wants to hear of mistakes: flags, capture,
// output. Then it does the work and reports what was found.
func (o *options) run(cmd *cobra.Command, path string, do func(*work) error) error {
	return o.runOn(cmd, path, openSession, do)
}

// runOn is run with another way to open the capture. If that returns both a capture and an error, the capture is only
// good for remarks.
func (o *options) runOn(cmd *cobra.Command, path string, open opener, do func(*work) error) error {
	m, err := o.machine(cmd.Flags())
	if err != nil {
		return err
	}
	spans, err := o.spans()
	if err != nil {
		return err
	}
	match, readsVA, err := o.matcher()
	if err != nil {
		return err
	}
	in, err := open(cmd.Context(), path, m)
	if in != nil {
		defer in.Close()
		o.remark(in)
	}
	if err != nil {
		return err
	}
	out, err := openOut(o.out, o.stdout, path)
	if err != nil {
		return err
	}
	defer out.drop()
	w := &work{opened: in, out: out, tally: &tally{
		emptyRoot: in.emptyRoot(),
		swap:      swapUses{layout: in.Layout, ramEnd: in.System.Layout.RAMEnd().PFN()},
	}}
	for _, s := range spans {
		w.filters = append(w.filters, Filter{First: s.first, Last: s.last, Match: match(in.ABI), MatchReadsVA: readsVA})
	}
	if w.colors, err = newPalette(o.color, out.Writer); err != nil {
		return err
	}
	o.warn(in)
	if err := errors.Join(do(w), cmd.Context().Err()); err != nil {
		return err
	}
	if err := out.keep(); err != nil {
		return err
	}
	w.tally.swap.doubt(in.System, o.stderr)
	return w.tally.report(o.stderr)
}

// remark tells what was odd about the file.
func (o *options) remark(in *opened) {
	for _, r := range in.Capture.Remarks {
		fmt.Fprintf(o.stderr, "ptdump: warning: %s\n", printable(r))
	}
}

// warn tells what the reader of any output must know; ptdump info tells more.
func (o *options) warn(in *opened) {
	warnAll(o.stderr, in.System.Warnings)
	for _, a := range in.System.Assumptions {
		if a.What == "kernel" {
			fmt.Fprintf(o.stderr, "ptdump: note: entries are read as Linux %s writes them: %s (--kernel to change)\n", a.Value, a.Why)
		}
	}
}

// warnAll prints the first few of many warnings.
func warnAll(stderr io.Writer, warnings []string) {
	const most = 10
	for i, w := range warnings {
		if i == most {
			fmt.Fprintf(stderr, "ptdump: %s\n", plural(len(warnings)-most, "more warning"))
			break
		}
		fmt.Fprintf(stderr, "ptdump: warning: %s\n", printable(w))
	}
}

// tally counts what is worth an exit code of its own.
type tally struct {
	emptyRoot bool
	problems  map[string]int // by text
	reserved  int            // entries with reserved bits
	invalid   uint64         // entries that no kernel writes
	remarks   int            // lines of the kernel style that the kernel would not print
	unmapped  int            // addresses that translate was asked for
	changed   bool           // something differs between two captures
	strays    int            // parts between areas that have entries
	excess    int            // areas with entries that permit more than the area
	swap      swapUses
}

func (t *tally) problem(p *Problem) {
	if t.problems == nil {
		t.problems = map[string]int{}
	}
	t.problems[problemClass(p)]++
}

// report says on stderr what was found, and returns errFinding if anything was.
func (t *tally) report(stderr io.Writer) error {
	if t.emptyRoot {
		fmt.Fprintln(stderr, "ptdump: the root table is empty: no processor can run on it")
	}
	for _, class := range slices.Sorted(maps.Keys(t.problems)) {
		fmt.Fprintf(stderr, "ptdump: %s: %s (marked in the output)\n", plural(t.problems[class], "problem"), class)
	}
	if t.reserved > 0 {
		fmt.Fprintf(stderr, "ptdump: %s with reserved bits set\n", countOf(t.reserved, "entry", "entries"))
	}
	if t.invalid > 0 {
		fmt.Fprintf(stderr, "ptdump: %s that no kernel writes (invalid)\n", countOf(int(t.invalid), "entry", "entries"))
	}
	if t.remarks > 0 {
		fmt.Fprintf(stderr, "ptdump: %s (lines that begin with #)\n", plural(t.remarks, "problem"))
	}
	if t.unmapped > 0 {
		fmt.Fprintf(stderr, "ptdump: %s not mapped\n", countOf(t.unmapped, "address", "addresses"))
	}
	if t.strays > 0 {
		fmt.Fprintf(stderr, "ptdump: %s with entries outside of every area\n", plural(t.strays, "range"))
	}
	if t.excess > 0 {
		fmt.Fprintf(stderr, "ptdump: %s with entries that permit more than the area does\n", plural(t.excess, "area"))
	}
	if t.strays > 0 || t.excess > 0 || t.emptyRoot || t.changed || t.reserved > 0 || t.invalid > 0 || t.remarks > 0 || t.unmapped > 0 || len(t.problems) > 0 {
		return errFinding
	}
	return nil
}

// emptyRoot reports a root table in which no slot is used. That it cannot be read is for the walk to say.
func (o *opened) emptyRoot() bool {
	var t physmem.Table
	if physmem.ReadTable(o.Mem, o.Root.PFN(), &t) != nil {
		return false
	}
	return t == physmem.Table{}
}
