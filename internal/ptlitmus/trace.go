package ptlitmus

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"ptemu/litmus"
)

const traceLong = `Trace runs one test and prints what each step does:

  entry    an entry that changed: old and new, with the flags that came and went
  fault    a page fault
  gate     what was decided about a write bit
  point    a place that an operation passed, where it could be stopped
  flush    what processors were told to forget
  stands   an operation in its middle, and which flush it owes
  pending  an address space that owes its processors a flush
  stale    what a processor remembers that the tables do not say any more

With --capture the machine at the end is written as an ELF core, which ptdump reads: its first processor runs the first
process, the next ones its children by name.`

// traceFlags are the flags of trace.
type traceFlags struct {
	kernel, policy, capture string
	points                  bool
}

func newTraceCommand(o *options) *cobra.Command {
	var f traceFlags
	cmd := &cobra.Command{
		Use: "trace FILE", Short: "Show what each step of a test changes", Long: traceLong + "\n\n" + exitCodesHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("trace takes one file, but %d are given", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return o.trace(f, args[0]) },
	}
	cmd.Flags().StringVar(&f.kernel, "kernel", "7.2", "as this `RELEASE`")
	cmd.Flags().StringVar(&f.policy, "policy", "", "with this historic behaviour `NAME`")
	cmd.Flags().StringVar(&f.capture, "capture", "", "write the final machine to `FILE`, for ptdump")
	cmd.Flags().BoolVar(&f.points, "points", false, "show all points, also those that every access passes")
	return cmd
}

func (o *options) trace(f traceFlags, path string) error {
	kernels, err := kernelsNamed("--kernel", f.kernel)
	if err != nil {
		return err
	}
	if len(kernels) != 1 {
		return usagef("trace shows one kernel at a time")
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return usagef("%s is a folder: trace takes one file", path)
	}
	all, err := litmus.Load(path)
	if err != nil {
		return err
	}
	on := litmus.RunOn{Kernel: kernels[0], Policy: f.policy}
	e, err := litmus.NewEmulator(all[0], on.Kernel, on.Policy)
	if err != nil {
		return &usageError{err}
	}
	defer e.Close()
	res, err := litmus.Trace(o.stdout, all[0], e, on, f.points)
	if err != nil {
		return asOutputError(err)
	}
	if f.capture != "" {
		if err := o.writeCapture(f.capture, e); err != nil {
			return asOutputError(err)
		}
	}
	if res.Verdict == litmus.Fail {
		return errFailed
	}
	return nil
}

// writeCapture writes the file, which appears under its name when it is whole.
func (o *options) writeCapture(path string, e *litmus.Emulator) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".ptlitmus-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := e.WriteCapture(f); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	for i, name := range e.Processes() {
		fmt.Fprintf(o.stderr, "ptlitmus: process %s is processor %d of %s, its tables begin at CR3 %v\n", name, i, path,
			e.Process(name).Tree().Root().Phys())
	}
	return nil
}
