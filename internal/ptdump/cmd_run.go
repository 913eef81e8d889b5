package ptdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/tree"
	"ptemu/physmem"
)

// opener opens a capture; see [Open].
type opener func(context.Context, string, *session.Options) (*session.Session, error)

// work is what a command that walks tables needs.
type work struct {
	*session.Session
	places  *places
	filters []tree.Filter // one for each range, ascending
	out     io.Writer
	colors  report.Palette
	tally   *tally // what was found
}

// run opens what a walking command needs, in the order in which a user wants to hear of mistakes: flags, capture,
// output. Then it does the work and reports what was found.
func (o *options) run(cmd *cobra.Command, path string, do func(*work) error) error {
	o.unpackBar = true
	return o.runOn(cmd, path, session.Open, do)
}

// runOn is run with another way to open the capture. If that returns both a capture and an error, the capture is only
// good for remarks.
func (o *options) runOn(cmd *cobra.Command, path string, open opener, do func(*work) error) error {
	m, err := o.machine(cmd.Flags())
	if err != nil {
		return err
	}
	spans, err := o.spans(&places{})
	if err != nil && !namesPlaces(err) {
		return err
	}
	match, readsVA, err := o.matcher(cmd.Flags())
	if err != nil {
		return err
	}
	bar := o.unpacking(path, m)
	defer bar.end()
	in, err := open(cmd.Context(), path, m)
	if in != nil {
		defer in.Close()
	}
	if err != nil || !bar.goesOn {
		bar.end()
	}
	if in != nil {
		o.remark(in)
	}
	if err != nil {
		return err
	}
	at := &places{in: in}
	if spans, err = o.spans(at); err != nil {
		return err
	}
	if in.NoUser != "" && spans[len(spans)-1].last <= lastUser {
		return errNoUser(in)
	}
	out, err := openOut(o.out, o.stdout, path)
	if err != nil {
		return err
	}
	defer out.drop()
	w := &work{Session: in, places: at, out: bar.before(out), tally: &tally{
		emptyRoot: emptyRoot(in.Tree),
		Tally:     entries.NewTally(in.Tree),
	}}
	for _, s := range spans {
		w.filters = append(w.filters, tree.Filter{First: s.first, Last: s.last, Match: match(in.ABI), MatchReadsVA: readsVA})
	}
	if w.colors, err = report.NewPalette(o.color, out.Writer); err != nil {
		return err
	}
	o.warn(in)
	if in.NoUser != "" && spans[0].first <= lastUser {
		fmt.Fprintf(o.stderr, "ptdump: note: no user half: %s\n", report.Printable(in.NoUser))
	}
	if err := errors.Join(do(w), cmd.Context().Err()); err != nil {
		return err
	}
	bar.end()
	if err := out.keep(); err != nil {
		return err
	}
	if why := w.tally.Doubt(in.System); why != "" {
		fmt.Fprintf(o.stderr, "ptdump: warning: %s: try --device-private\n", why)
	}
	return w.tally.report(o.stderr)
}

// errNoUser says why nothing can be said of addresses in the user half.
func errNoUser(in *session.Session) error {
	return fmt.Errorf("%s: no user half to look into: %s", in.Capture.Path, in.NoUser)
}

// remark tells what was odd about the file.
func (o *options) remark(in *session.Session) {
	for _, r := range in.Capture.Remarks {
		fmt.Fprintf(o.stderr, "ptdump: warning: %s\n", report.Printable(r))
	}
}

// warn tells what the reader of any output must know; ptdump info tells more.
func (o *options) warn(in *session.Session) {
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
			fmt.Fprintf(stderr, "ptdump: %s\n", report.Plural(len(warnings)-most, "more warning"))
			break
		}
		fmt.Fprintf(stderr, "ptdump: warning: %s\n", report.Printable(w))
	}
}

// noteNothing says that a walk found nothing to print, where else there would be no word at all.
func (o *options) noteNothing(t *tally) {
	if o.format == "text" && t.Entries == 0 && len(t.Problems) == 0 && !t.emptyRoot {
		fmt.Fprintln(o.stderr, "ptdump: note: no entry matched")
	}
}

// tally counts what is worth an exit code of its own.
type tally struct {
	entries.Tally
	emptyRoot bool
	remarks   int  // lines of the kernel style that the kernel would not print
	unmapped  int  // addresses that translate was asked for
	changed   bool // something differs between two captures
	strays    int  // parts between areas that have entries
	excess    int  // areas with entries that permit more than the area
}

// report says on stderr what was found, and returns errFinding if anything was.
func (t *tally) report(stderr io.Writer) error {
	if t.emptyRoot {
		fmt.Fprintln(stderr, "ptdump: the root table is empty: no processor can run on it")
	}
	for _, class := range slices.Sorted(maps.Keys(t.Problems)) {
		fmt.Fprintf(stderr, "ptdump: %s: %s (marked in the output)\n", report.Plural(t.Problems[class], "problem"), class)
	}
	if t.Reserved > 0 {
		fmt.Fprintf(stderr, "ptdump: %s with reserved bits set\n", report.Count(t.Reserved, "entry", "entries"))
	}
	if t.Invalid > 0 {
		fmt.Fprintf(stderr, "ptdump: %s that no kernel writes (invalid)\n", report.Count(int(t.Invalid), "entry", "entries"))
	}
	if t.remarks > 0 {
		fmt.Fprintf(stderr, "ptdump: %s (lines that begin with #)\n", report.Plural(t.remarks, "problem"))
	}
	if t.unmapped > 0 {
		fmt.Fprintf(stderr, "ptdump: %s not mapped\n", report.Count(t.unmapped, "address", "addresses"))
	}
	if t.strays > 0 {
		fmt.Fprintf(stderr, "ptdump: %s with entries outside of every area\n", report.Plural(t.strays, "range"))
	}
	if t.excess > 0 {
		fmt.Fprintf(stderr, "ptdump: %s with entries that permit more than the area does\n", report.Plural(t.excess, "area"))
	}
	if t.strays > 0 || t.excess > 0 || t.emptyRoot || t.changed || t.Reserved > 0 || t.Invalid > 0 || t.remarks > 0 || t.unmapped > 0 || len(t.Problems) > 0 {
		return errFinding
	}
	return nil
}

// emptyRoot reports a root table in which no slot is used. That it cannot be read is for the walk to say.
func emptyRoot(o *tree.Tree) bool {
	var t physmem.Table
	if physmem.ReadTable(o.Mem, o.Root.PFN(), &t) != nil {
		return false
	}
	return t == physmem.Table{}
}
