package ptdump

import (
	"bytes"
	"context"
	"io"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/runs"
	"ptemu/internal/ptdump/usage"
	"ptemu/linux"
)

const dumpLong = `Print the address space as ranges: neighbouring entries of equal meaning as one line, under the name of the region that
they lie in. Entries that map nothing are part of the picture: a run of swapped pages is a range, with what it says.

A line says: addresses (the end is excluded), size, level of the entries, effective rights (r w x, u: from user mode),
kind, frames or swap slots (first-last, "each" if all name the same, "scattered" if they do not follow one another), flags
that all entries have, and how many were accessed or are dirty. A line that begins with ! is a part that could not be
explained. Where a range repeats at equal distances, in all but the address, "... and N more like it" stands for the
repetitions.

--style kernel prints what the kernel's own debugfs files page_tables/kernel, current_kernel and current_user print, so
that diff compares them: with --root swapper the first, with the other roots of a process the others.

In jsonl, json and csv every range is written, with the region's name; accessed and dirty are counts.`

const dumpExample = `  ptdump vmcore
  ptdump dump --kernel-half vmcore
  ptdump dump --kind swap,migration,marker vmcore       what is not in memory
  ptdump dump --where 'w && x' vmcore                   writable and executable
  ptdump dump --region modules --region vmalloc vmcore
  ptdump dump --style kernel --root swapper vmcore | diff - page_tables-kernel.txt
  ptdump dump --format jsonl -o ranges.jsonl vmcore`

func newDumpCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dump [flags] CAPTURE",
		Short:   "Print the address space as ranges of equal meaning",
		Long:    dumpLong + "\n\n" + exitCodesHelp,
		Example: dumpExample,
		Args:    captureArgs(0, ""),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.runDump(cmd, args[0]) },
	}
	o.addWalk(cmd)
	choice(cmd, &o.style, "style", "", styleNames, "`STYLE` of the lines: merged by meaning, or as in the kernel's debugfs files")
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	o.addPID(cmd)
	return cmd
}

func (o *options) runDump(cmd *cobra.Command, path string) error {
	if o.style == "kernel" {
		switch {
		case o.format != "text":
			return usage.Errorf("--style kernel is text: it does not go with --format %s", o.format)
		case o.where != "" || len(o.kinds) > 0:
			return usage.Errorf("--style kernel prints every entry: it does not go with --where and --kind")
		case len(o.ranges)+len(o.regions) > 1:
			return errOneRange
		}
	}
	return o.run(cmd, path, func(w *work) error {
		if o.style == "kernel" {
			return w.kernelStyle(cmd.Context())
		}
		out := runs.NewWriter(cmd.Context(), w.out, runs.NewFormat(o.format, w.ABI, w.colors))
		out.Tally = &w.tally.Tally
		for _, f := range w.filters {
			if err := runs.Walk(w.Tree, f, w.System.Markers(), out); err != nil {
				return err
			}
		}
		o.noteNothing(w.tally)
		return out.Close()
	})
}

var errOneRange = usage.Errorf("--style kernel takes one --range, or one --region that is in one place")

func (w *work) kernelStyle(ctx context.Context) error {
	if len(w.filters) > 1 {
		return errOneRange
	}
	out := &remarkCounter{w: w.out, ctx: ctx, start: true}
	if err := runs.KernelStyle(w.Tree, w.filters[0], linux.KernelMarkers(w.System), out); err != nil {
		return err
	}
	w.tally.remarks = out.n
	return nil
}

// remarkCounter counts the lines that begin with "#" on their way: those that the kernel does not print.
type remarkCounter struct {
	w     io.Writer
	ctx   context.Context
	start bool // of a line
	n     int
}

func (c *remarkCounter) Write(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	if c.start && len(p) > 0 && p[0] == '#' {
		c.n++
	}
	c.n += bytes.Count(p, []byte("\n#"))
	if len(p) > 0 {
		c.start = p[len(p)-1] == '\n'
	}
	return c.w.Write(p)
}
