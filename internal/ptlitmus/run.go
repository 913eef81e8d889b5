package ptlitmus

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"ptemu/litmus"
)

// runFlags are the flags of run.
type runFlags struct {
	kernel, on, format string
	timeout            time.Duration
}

// usualTimeout is much more than a test takes, on the busiest machine.
const usualTimeout = 5 * time.Minute

func newRunCommand(o *options) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use: "run [FILE|FOLDER]...", Short: "Run tests, and print a table of tests and kernels",
		Long: "Run runs tests on every kernel, and under the historic behaviours that they name. Folders are read with all below them.\n" +
			"Without a file it runs the tests that come with the program.\n\n" + exitCodesHelp,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, f, args) },
	}
	cmd.Flags().StringVar(&f.kernel, "kernel", "all", "only these `RELEASES`, with commas between")
	cmd.Flags().StringVar(&f.on, "on", "", "a running kernel instead of the emulator: `qemu:RELEASES[,la57][,pti]`, prepared by conformance/capture.sh; "+
		"with la57 it has five levels of tables, with pti isolated ones")
	cmd.Flags().DurationVar(&f.timeout, "timeout", usualTimeout, "how long a test may take on one kernel; one that takes longer fails")
	cmd.Flags().StringVar(&f.format, "format", "text", "text or json")
	return cmd
}

// row is a test with all its results.
type row struct {
	prog    *litmus.Program
	results []litmus.Result
}

func (o *options) run(cmd *cobra.Command, f runFlags, args []string) (err error) {
	if f.timeout <= 0 {
		return usagef("--timeout %v: a test needs some time", f.timeout)
	}
	r, kernels, err := runnerFor(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if f.format != "text" && f.format != "json" {
		return usagef("--format %s: there are text and json", f.format)
	}
	programs, err := load(args)
	if err != nil {
		return err
	}
	rows, failed, err := runAll(cmd.Context(), r, programs, kernels)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(o.stdout)
	if f.format == "json" {
		err = writeJSON(out, rows)
	} else {
		writeTable(out, rows, kernels)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return asOutputError(err)
	}
	if failed {
		return errFailed
	}
	return nil
}

// runAll runs every program in all its ways.
func runAll(ctx context.Context, r runner, programs []*litmus.Program, kernels []string) (rows []row, failed bool, err error) {
	for _, p := range programs {
		w := row{prog: p}
		for _, on := range ways(r, p) {
			if err := ctx.Err(); err != nil {
				return nil, false, err
			}
			if !slices.Contains(kernels, on.Kernel) {
				continue
			}
			res, err := r.run(ctx, p, on)
			if err != nil {
				return nil, false, err
			}
			failed = failed || res.Verdict == litmus.Fail
			w.results = append(w.results, res)
		}
		rows = append(rows, w)
	}
	return rows, failed, nil
}

// writeTable prints a line for each test, then what failed, then the sum.
func writeTable(w io.Writer, rows []row, kernels []string) {
	width := len("TEST")
	for _, r := range rows {
		width = max(width, len(r.prog.Name))
	}
	fmt.Fprintf(w, "%-*s", width, "TEST")
	for _, k := range kernels {
		fmt.Fprintf(w, "  %-5s", k)
	}
	fmt.Fprint(w, "  HISTORIC\n")
	for _, r := range rows {
		fmt.Fprintf(w, "%-*s", width, r.prog.Name)
		for _, res := range r.results {
			if res.Policy == "" {
				fmt.Fprintf(w, "  %-5s", res.Verdict)
			}
		}
		for _, res := range r.results {
			if res.Policy != "" {
				fmt.Fprintf(w, "  %s %s", res.Verdict, res.On())
			}
		}
		fmt.Fprintln(w)
	}
	writeReasons(w, rows)
}

// writeReasons says why tests failed or were not run, and adds everything up.
func writeReasons(w io.Writer, rows []row) {
	n := map[litmus.Verdict]int{}
	checks, unseen := 0, 0
	for _, r := range rows {
		for _, res := range r.results {
			n[res.Verdict]++
			checks += res.Checks
			unseen += res.Unseen
			for i := range res.Failures {
				fmt.Fprintf(w, "\nFAIL %s on %s\n  %v\n", r.prog.Name, res.On(), &res.Failures[i])
			}
			if res.Verdict == litmus.NotHere {
				fmt.Fprintf(w, "\nn/a  %s on %s: %s", r.prog.Name, res.On(), res.Reason)
			}
		}
	}
	if n[litmus.NotHere] > 0 {
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\n%d tests, %d runs: %d passed, %d failed, %d not here; %d expectations\n", len(rows),
		n[litmus.Pass]+n[litmus.Fail]+n[litmus.NotHere], n[litmus.Pass], n[litmus.Fail], n[litmus.NotHere], checks)
	if unseen > 0 {
		fmt.Fprintf(w, "%d things expected cannot be seen from outside a running kernel, and were passed over\n", unseen)
	}
}

type jsonFailure struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

type jsonResult struct {
	Test     string        `json:"test"`
	Title    string        `json:"title,omitempty"`
	Kernel   string        `json:"kernel"`
	Policy   string        `json:"policy,omitempty"`
	Verdict  string        `json:"verdict"`
	Reason   string        `json:"reason,omitempty"`
	Failures []jsonFailure `json:"failures,omitempty"`
	Steps    int           `json:"steps"`
	Checks   int           `json:"expectations"`
}

var verdictNames = map[litmus.Verdict]string{litmus.Pass: "pass", litmus.Fail: "fail", litmus.NotHere: "not-here"}

func writeJSON(w io.Writer, rows []row) error {
	all := []jsonResult{}
	for _, r := range rows {
		for _, res := range r.results {
			j := jsonResult{
				Test: r.prog.Name, Title: r.prog.Title, Kernel: res.Kernel, Policy: res.Policy, Verdict: verdictNames[res.Verdict],
				Reason: res.Reason, Steps: res.Steps, Checks: res.Checks,
			}
			for _, f := range res.Failures {
				j.Failures = append(j.Failures, jsonFailure{f.Pos.File, f.Pos.Line, f.Pos.Col, f.Msg})
			}
			all = append(all, j)
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(all)
}
