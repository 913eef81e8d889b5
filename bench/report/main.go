// Command report measures the whole set of package bench in one go and prints what came of it: tables, what was aimed
// at and whether it was reached, and what was left out and why. It also writes the figures as JSON, Markdown and a plot.
//
//	go run ./bench/report --json bench.json --svg bench.svg --markdown bench.md
//
// It binds itself to one processor (two for the case of two goroutines) and needs a quiet machine, some 8 GiB of memory
// and half an hour; --quick does a small part of it.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"ptemu/bench"
)

func main() {
	if served, err := bench.ServeForks(); served {
		if err != nil {
			fmt.Fprintln(os.Stderr, "report:", err)
			os.Exit(1)
		}
		return
	}
	if err := command().Execute(); err != nil {
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	rounds, kernelPTEs  int
	time                time.Duration
	quick, brief, quiet bool
	cases, sizes        []string
	json, svg, markdown string
}

// minRounds is what medians and quartiles need.
const minRounds = 7

func command() *cobra.Command {
	var o options
	c := &cobra.Command{
		Use:           "report",
		Short:         "Measure page-table operations against the memory floor, plain loops and the running kernel",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: false,
		RunE:          func(c *cobra.Command, _ []string) error { return o.run(c.OutOrStdout(), c.ErrOrStderr()) },
	}
	f := c.Flags()
	f.IntVar(&o.rounds, "rounds", 9, "interleaved rounds, at least 7")
	f.DurationVar(&o.time, "time", 10*time.Millisecond, "time for each variant in a round, at least")
	f.IntVar(&o.kernelPTEs, "kernel-ptes", bench.MaxKernelPTEs, "pages that the kernel's own calls are timed with, at most")
	f.BoolVar(&o.quick, "quick", false, "only the smallest tables and short rounds: to see that it works")
	f.BoolVar(&o.brief, "brief", false, "of the largest tables only the cases that the Reach section needs: a third of the time")
	f.BoolVar(&o.quiet, "quiet", false, "do not say what is being measured")
	f.StringSliceVar(&o.cases, "cases", nil, "only these cases, or those whose name contains one of these")
	f.StringSliceVar(&o.sizes, "sizes", nil, "only these sizes: 256KiB, 8MiB, 128MiB, 1GiB")
	f.StringVar(&o.json, "json", "", "write the rows to this file")
	f.StringVar(&o.svg, "svg", "", "write the plot to this file")
	f.StringVar(&o.markdown, "markdown", "", "write the report as Markdown to this file")
	return c
}
