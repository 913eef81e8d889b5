// Package ptlitmus is the body of the ptlitmus command: it runs litmus tests on the emulator and prints a table, and
// shows step by step what a test does.
//
// The language and the runner are package litmus; here are only flags, output and exit codes.
package ptlitmus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"ptemu/litmus"
)

// The exit codes, documented in the help.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreadable  = 3
	exitOutput      = 4
	exitInterrupted = 130
)

const exitCodesHelp = `Exit codes:
  0    all tests passed, as far as the kernels have what they need
  1    a test failed
  2    wrong usage
  3    a file cannot be read, or has a mistake
  4    the output cannot be written
  130  interrupted
`

const rootLong = `ptlitmus runs litmus tests of page-table operations: short texts that say which operations processes and processors do,
where one is stopped while another goes on, and which bits the entries have then. The same text holds for Linux 6.1, 6.12 and
7.2, and for historic behaviours, on an emulator of their memory management. The language is described in doc/litmus.md.`

const rootExample = `  ptlitmus run                              the tests that come with the program
  ptlitmus run --kernel 6.12 mine.pt tests/
  ptlitmus trace mine.pt                    what each step changes in which entry
  ptlitmus trace --kernel 6.1 --capture out.elf mine.pt && ptdump out.elf
  ptlitmus names points                     where an operation can be stopped`

// errFailed ends a run in which a test failed. It has been reported.
var errFailed = errors.New("a test failed")

// usageError is a mistake in the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// outputError is a failure to write the output.
type outputError struct{ err error }

func (e *outputError) Error() string { return "cannot write the output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

func asOutputError(err error) error {
	if err == nil {
		return nil
	}
	return &outputError{err}
}

// options is what all commands have in common.
type options struct {
	stdout, stderr io.Writer
}

// Main runs the command line args, without the program's name, and returns the exit code. It ends early when ctx is
// cancelled.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := &options{stdout: stdout, stderr: stderr}
	root := newRootCommand(o)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var usage *usageError
	var output *outputError
	switch {
	case err == nil, errors.As(err, &output) && (errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)):
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "ptlitmus: interrupted")
		return exitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "ptlitmus: %v\nTry '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	case errors.As(err, &output):
		fmt.Fprintf(stderr, "ptlitmus: %v\n", err)
		return exitOutput
	}
	fmt.Fprintf(stderr, "ptlitmus: %v\n", err)
	return exitUnreadable
}

func newRootCommand(o *options) *cobra.Command {
	root := &cobra.Command{
		Use: "ptlitmus", Short: "Run litmus tests of Linux's page-table operations", Long: rootLong + "\n\n" + exitCodesHelp,
		Example: rootExample, Version: version(), SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return usagef("no command given") },
	}
	root.SetOut(o.stdout)
	root.SetErr(o.stderr)
	root.SetVersionTemplate("ptlitmus {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(newRunCommand(o), newTraceCommand(o), newNamesCommand(o))
	return root
}

// version is the module's version as the go command recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// load reads the tests that are named, or those that come with the program.
func load(paths []string) ([]*litmus.Program, error) {
	if len(paths) == 0 {
		return litmus.Corpus()
	}
	for _, p := range paths {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return litmus.Load(paths...)
}

// kernelsNamed returns the releases of a list, which is part of the flag called name.
func kernelsNamed(name, list string) ([]string, error) {
	known := litmus.Kernels()
	if list == "all" {
		return known, nil
	}
	names := strings.Split(list, ",")
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, usagef("%s: no release %q: there are %s, and all", name, n, strings.Join(known, ", "))
		}
	}
	return names, nil
}

const namesLong = `Names prints words of the language: "points" where an operation can be stopped, historic "policies" with what they mean,
"verbs" with their grammar, "items" that can be expected.`

func newNamesCommand(o *options) *cobra.Command {
	kinds := []string{"points", "policies", "verbs", "items"}
	return &cobra.Command{
		Use: "names points|policies|verbs|items", Short: "Print words of the language", Long: namesLong, ValidArgs: kinds,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(kinds, args[0]) {
				return usagef("names takes one of %s", strings.Join(kinds, ", "))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			for _, line := range litmus.Names(args[0]) {
				if _, err := fmt.Fprintln(o.stdout, line); err != nil {
					return asOutputError(err)
				}
			}
			return nil
		},
	}
}
