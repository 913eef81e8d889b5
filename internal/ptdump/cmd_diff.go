package ptdump

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

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
		Long:    diffLong + changesHelp() + "\n" + exitCodesHelp + "Here 1 means that something changed.\n",
		Example: diffExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usagef("two captures are compared, but %d given", len(args))
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
	flags.StringArrayVar(&o.ranges, "range", nil, "only the addresses `A-B`, B excluded, or A+SIZE; may be repeated")
	o.addJobs(cmd)
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	complete(cmd, "only", changeWords())
	complete(cmd, "ignore", changeWords())
	cmd.ValidArgsFunction = completeCaptures(2)
	return cmd
}

func (o *options) runDiff(cmd *cobra.Command, before, after string, f diffFlags) error {
	opt := diffOptions{entries: f.entries}
	var err error
	if opt.only, err = parseChanges("only", f.only); err != nil {
		return err
	}
	if opt.ignore, err = parseChanges("ignore", f.ignore); err != nil {
		return err
	}
	if sameFile(o.out, after) {
		return usagef("-o %s: is one of the captures", o.out)
	}
	return o.runOn(cmd, before, openForProcesses, func(w *work) error {
		m, err := o.machine(cmd.Flags())
		if err != nil {
			return err
		}
		b, err := openForProcesses(cmd.Context(), after, m)
		if b != nil {
			defer b.Close()
			o.remark(b)
		}
		if err != nil {
			return err
		}
		for _, warning := range b.System.Warnings {
			fmt.Fprintf(o.stderr, "ptdump: warning: %s: %s\n", after, printable(warning))
		}
		o.doubtSame(w.opened, b)
		w.tally.emptyRoot = false
		opt.filters = w.filters
		pairs, err := o.pairs(cmd.Context(), w.opened, b)
		if err != nil {
			return err
		}
		if pairs, err = choosePairs(pairs, f.pids); err != nil {
			return err
		}
		return o.writeDiff(cmd.Context(), w, pairs, opt)
	})
}

// sameFile reports whether two paths lead to one file.
func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// doubtSame warns if the two captures are hardly of one machine that ran on between them.
func (o *options) doubtSame(a, b *opened) {
	switch {
	case a.System.Release != b.System.Release:
		fmt.Fprintf(o.stderr, "ptdump: warning: different kernels: %q and %q\n", a.System.Release, b.System.Release)
	case a.System.HasKASLROffset && b.System.HasKASLROffset && a.System.KASLROffset != b.System.KASLROffset:
		fmt.Fprintln(o.stderr, "ptdump: warning: the kernel is at different places: the machine was started anew between the captures")
	}
}

// pairs finds what to compare: the processes of both captures and the kernel, or the chosen roots if there are no processes.
func (o *options) pairs(ctx context.Context, a, b *opened) ([]spacePair, error) {
	before, errA := a.processes(ctx, proc.Options{})
	after, errB := b.processes(ctx, proc.Options{})
	if errA == nil && errB == nil {
		warnAll(o.stderr, warningsOf(a, before))
		warnAll(o.stderr, warningsOf(b, after))
		return pairSpaces(before, after, o.user, o.kernelHalf), nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err := errA
	if err == nil {
		err = errB
	}
	fmt.Fprintf(o.stderr, "ptdump: warning: only the chosen root is compared: %v\n", err)
	return []spacePair{{Before: &space{Session: a.Session}, After: &space{Session: b.Session}}}, nil
}

// warningsOf says of which capture the warnings about its processes are.
func warningsOf(in *opened, m *machineSpaces) []string {
	var all []string
	for _, w := range m.Procs.Warnings {
		all = append(all, in.Capture.Path+": "+w)
	}
	return all
}

// choosePairs keeps the processes that are asked for.
func choosePairs(pairs []spacePair, pids []int) ([]spacePair, error) {
	if len(pids) == 0 {
		return pairs, nil
	}
	var chosen []spacePair
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

// writeDiff compares and writes. Spaces are compared in parallel and written in order; single entries are written as they come.
func (o *options) writeDiff(ctx context.Context, w *work, pairs []spacePair, opt diffOptions) error {
	out := newDiffWriter(o.format, w.out, w.colors)
	results := make([]*spaceDiff, len(pairs))
	bar := startProgress(o.stderr, "comparing", len(pairs))
	defer bar.stop()
	jobs := o.jobs
	if opt.entries {
		jobs = 1
	}
	err := each(ctx, jobs, len(pairs), func(i int) (err error) {
		defer bar.one()
		results[i], err = pairs[i].diff(ctx, opt, out.difference)
		if err == nil && opt.entries {
			err = out.space(results[i])
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Entries > 0 || r.Event != "" {
			w.tally.changed = true
		}
		if opt.entries {
			continue
		}
		for i := range r.Differences {
			if err := out.difference(r, &r.Differences[i]); err != nil {
				return err
			}
		}
		if err := out.space(r); err != nil {
			return err
		}
	}
	return out.close()
}
