package ptdump

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/diff"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/usage"
	"ptemu/linux/proc"
)

const diffLong = `Compare two captures of one machine, A before B, and print what became of every entry: process by process, and the
kernel's own. Processes are the same if their PID and task are. Neighbours that changed alike are one line (--entries:
each entry is).

A line says: addresses (the end is excluded), size, number of entries, what changed, and what the first of the entries was before
and is after. In jsonl every line is an object {"pid","comm","va","end","size","entries","changes","before","after"}; pid is null
for the kernel; {"pid","comm","event"} is a process that one capture lacks. It does not need processes: of
captures that have none, the trees of the chosen roots are compared.

What can change:
`

const diffExample = `  ptdump diff before.elf after.elf
  ptdump diff --only became-writable before.elf after.elf     who gave the write bit?
  ptdump diff --ignore accessed,aged,dirtied --pid 812 a.elf b.elf
  ptdump diff --format jsonl a.elf b.elf | jq -c 'select(.changes | index("uffd-wp"))'`

// diffFlags are the flags of diff alone.
type diffFlags struct {
	ignore, only []string
	pids         []int
	entries      bool
}

func newDiffCommand(o *options) *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:     "diff [flags] A B",
		Short:   "Print what changed between two captures of one machine",
		Long:    diffLong + diff.ChangesHelp() + "\n" + exitCodesHelp + "Here 1 means that something changed.\n",
		Example: diffExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage.Errorf("two captures are compared, but %d given", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.runDiff(cmd, args[0], args[1], f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringSliceVar(&f.only, "only", nil, "only what changed in one of these `WAYS`")
	flags.StringSliceVar(&f.ignore, "ignore", nil, "changes in these `WAYS` do not count")
	flags.IntSliceVar(&f.pids, "pid", nil, "only the processes with these `PIDS`")
	flags.BoolVar(&f.entries, "entries", false, "every entry on a line of its own")
	flags.BoolVar(&o.user, "user", false, "only processes")
	flags.BoolVar(&o.kernelHalf, "kernel-half", false, "only the kernel")
	flags.StringArrayVar(&o.ranges, "range", nil, "only the addresses `A-B`, B excluded, A+SIZE, or the page of A; may be repeated")
	o.addJobs(cmd)
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	complete(cmd, "only", diff.ChangeWords())
	complete(cmd, "ignore", diff.ChangeWords())
	cmd.ValidArgsFunction = completeCaptures(2)
	return cmd
}

func (o *options) runDiff(cmd *cobra.Command, before, after string, f diffFlags) error {
	opt := diff.Options{Entries: f.entries}
	var err error
	if opt.Only, err = diff.ParseChanges("only", f.only); err != nil {
		return err
	}
	if opt.Ignore, err = diff.ParseChanges("ignore", f.ignore); err != nil {
		return err
	}
	if sameFile(o.out, after) {
		return usage.Errorf("-o %s: is one of the captures", o.out)
	}
	return o.runOn(cmd, before, session.OpenForProcesses, func(w *work) error {
		m, err := o.machine(cmd.Flags())
		if err != nil {
			return err
		}
		b, err := session.OpenForProcesses(cmd.Context(), after, m)
		if b != nil {
			defer b.Close()
			o.remark(b)
		}
		if err != nil {
			return err
		}
		for _, warning := range b.System.Warnings {
			fmt.Fprintf(o.stderr, "ptdump: warning: %s: %s\n", after, report.Printable(warning))
		}
		o.doubtSame(w.Session, b)
		w.tally.emptyRoot = false
		opt.Filters = w.filters
		pairs, err := o.pairs(cmd.Context(), w.Session, b)
		if err != nil {
			return err
		}
		if pairs, err = choosePairs(pairs, f.pids); err != nil {
			return err
		}
		to := diff.Output{W: w.out, Format: o.format, Colors: w.colors}
		w.tally.changed, err = diff.Write(cmd.Context(), to, pairs, opt, o.workers())
		return err
	})
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// doubtSame warns if the two captures are hardly of one machine that ran on between them.
func (o *options) doubtSame(a, b *session.Session) {
	switch {
	case a.System.Release != b.System.Release:
		fmt.Fprintf(o.stderr, "ptdump: warning: different kernels: %q and %q\n", a.System.Release, b.System.Release)
	case a.System.HasKASLROffset && b.System.HasKASLROffset && a.System.KASLROffset != b.System.KASLROffset:
		fmt.Fprintln(o.stderr, "ptdump: warning: the kernel is at different places: the machine was started anew between the captures")
	}
}

// pairs finds what to compare: the processes of both captures and the kernel, or the chosen roots if there are no processes.
func (o *options) pairs(ctx context.Context, a, b *session.Session) ([]diff.Pair, error) {
	before, errA := a.Processes(ctx, proc.Options{})
	after, errB := b.Processes(ctx, proc.Options{})
	if errA == nil && errB == nil {
		warnAll(o.stderr, warningsOf(a, before))
		warnAll(o.stderr, warningsOf(b, after))
		return diff.Pairs(before, after, o.user, o.kernelHalf), nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err := errA
	if err == nil {
		err = errB
	}
	fmt.Fprintf(o.stderr, "ptdump: warning: only the chosen root is compared: %v\n", err)
	return []diff.Pair{{Before: &space.Space{Tree: a.Tree}, After: &space.Space{Tree: b.Tree}}}, nil
}

// warningsOf says of which capture the warnings about its processes are.
func warningsOf(in *session.Session, m *space.Machine) []string {
	var all []string
	for _, w := range m.Procs.Warnings {
		all = append(all, in.Capture.Path+": "+w)
	}
	return all
}

// choosePairs keeps the processes that are asked for.
func choosePairs(pairs []diff.Pair, pids []int) ([]diff.Pair, error) {
	if len(pids) == 0 {
		return pairs, nil
	}
	var chosen []diff.Pair
	for _, pid := range pids {
		found := false
		for _, p := range pairs {
			if p.Process != nil && p.Process.PID == pid {
				chosen, found = append(chosen, p), true
			}
		}
		if !found {
			return nil, fmt.Errorf("neither capture has a process %d with an address space", pid)
		}
	}
	return chosen, nil
}
