package ptdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/usage"
	"ptemu/internal/ptdump/where"
)

// The exit codes, documented in the help.
const (
	exitOK          = 0
	exitFinding     = 1
	exitUsage       = 2
	exitUnreadable  = 3
	exitOutput      = 4
	exitInterrupted = 130
)

const exitCodesHelp = `Exit codes:
  0    all is well
  1    a finding: a table that is not in the capture, reserved bits, a loop; translate: an address not mapped;
       info: a root table that cannot be used
  2    wrong usage
  3    the capture cannot be read, or no page tables can be found in it that hold the answer
  4    the output cannot be written
  130  interrupted
`

// errFinding ends a command that did its work and found something wrong. It has been reported already.
var errFinding = errors.New("finding")

// Main runs the command line args, without the program's name, and returns the exit code. It ends early when ctx is
// cancelled.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return (&options{stdout: stdout, stderr: stderr}).main(ctx, args)
}

// main is Main with options of which some are chosen already, as tests do.
func (o *options) main(ctx context.Context, args []string) int {
	help := &outputRecorder{w: o.stdout}
	root := newRootCommand(o, help)
	root.SetArgs(joinDevicePrivate(args))
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = asOutputError(help.err)
	}
	return conclude(err, cmd, o.stderr)
}

// outputRecorder is where cobra writes help, versions and completions. It keeps the first error to itself, for cobra
// drops some, and reports others as it likes.
type outputRecorder struct {
	w   io.Writer
	err error
}

func (r *outputRecorder) Write(p []byte) (int, error) {
	if r.err == nil {
		_, r.err = r.w.Write(p)
	}
	return len(p), nil
}

// conclude prints what went wrong, if anything, and returns the exit code.
func conclude(err error, cmd *cobra.Command, stderr io.Writer) int {
	said := func() string { return report.Printable(err.Error()) }
	var usage *usage.Error
	var output *outputError
	switch {
	case err == nil, readerGone(err):
		return exitOK
	case errors.Is(err, errFinding):
		return exitFinding
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "ptdump: interrupted")
		return exitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "ptdump: %s\nTry '%s --help'.\n", said(), cmd.CommandPath())
		return exitUsage
	case errors.As(err, &output):
		fmt.Fprintf(stderr, "ptdump: %s\n", said())
		return exitOutput
	}
	fmt.Fprintf(stderr, "ptdump: %s\n", said())
	if hint := hintFor(err, cmd); hint != "" {
		fmt.Fprintf(stderr, "  %s\n", hint)
	}
	return exitUnreadable
}

const rootLong = `ptdump explains the page tables in a memory capture of an x86-64 Linux machine: what every entry maps, with which
rights, and what the entries that map nothing say (swap, migration, userfaultfd and guard markers, poison).

A capture is a QEMU dump-guest-memory file, a kdump vmcore (ELF or compressed), /proc/kcore, a LiME or AVML file, or
raw memory; each also in .gz or .zst, which is unpacked as far as needed, into the folder for temporary files (TMPDIR).
Kernel, paging and the root table are found in it, or given by flags.`

const rootExample = `  ptdump vmcore                             the address space, as ranges of equal meaning
  ptdump dump --user vmcore                 its user half
  ptdump dump --style kernel vmcore         as the kernel's debugfs page_tables files print it
  ptdump info vmcore                        what is in the capture, and what was assumed
  ptdump entries --kind swap vmcore         every entry of a kind, one a line
  ptdump entries --where 'w && x' --format jsonl vmcore
  ptdump translate vmcore ffffffff81000000  one address, level by level`

// newRootCommand returns the command tree. What the commands find goes to o.stdout, what cobra has to say to help.
func newRootCommand(o *options, help io.Writer) *cobra.Command {
	root := newDumpCommand(o)
	root.Use = "ptdump [flags] CAPTURE"
	root.Short = "Explain the page tables in a memory capture of Linux"
	root.Long = rootLong + "\n\nWithout a command it is ptdump dump.\n\n" + exitCodesHelp
	root.Example = rootExample
	root.Version = version()
	root.SuggestionsMinimumDistance = 2
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetOut(help)
	root.SetErr(o.stderr)
	root.SetVersionTemplate("ptdump {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError(err) })
	root.AddGroup(&cobra.Group{ID: "main", Title: "Commands:"})
	for _, sub := range []*cobra.Command{
		newDumpCommand(o), newEntriesCommand(o), newTranslateCommand(o), newInfoCommand(o),
		newPsCommand(o), newMapsCommand(o), newMapCommand(o), newWhoCommand(o),
		newAuditCommand(o), newDiffCommand(o), newExtractCommand(o),
	} {
		sub.GroupID = "main"
		root.AddCommand(sub)
	}
	root.AddCommand(&cobra.Command{Use: "where", Short: "The language of --where", Long: where.Help})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	refuseUnknown(root)
	return root
}

// refuseUnknown makes help and completion refuse what they know nothing of, in place of printing the general help.
func refuseUnknown(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return usage.Errorf("help %q: there is no such command", strings.Join(args, " "))
				}
				return nil
			}
		case "completion":
			var shells []string
			for _, sub := range cmd.Commands() {
				shells = append(shells, sub.Name())
			}
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usage.Errorf("completion %q: want %s", args[0], strings.Join(shells, ", "))
				}
				return cmd.Help()
			}
		}
	}
}

// parseError is what package strconv says, which cobra passes on.
var parseError = regexp.MustCompile(`strconv\.\w+: parsing ("[^"]*"): (?:invalid syntax|value out of range)`)

// flagError is an error about a flag, in words.
func flagError(err error) error {
	if said := err.Error(); parseError.MatchString(said) {
		err = errors.New(parseError.ReplaceAllString(said, "want a number that fits"))
	}
	return &usage.Error{Err: err}
}

// captureArgs checks that a capture is given, and at least more arguments after it.
func captureArgs(more int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usage.Errorf("no capture given")
		case len(args) == 1 && more > 0:
			return usage.Errorf("no %s given", what)
		case len(args) > 1 && more == 0:
			if !cmd.HasParent() {
				if known := cmd.SuggestionsFor(args[0]); len(known) > 0 {
					return usage.Errorf("unknown command %q, did you mean %s?", args[0], known[0])
				}
			}
			return usage.Errorf("one capture at a time, but %d arguments are given: %s", len(args), strings.Join(args, " "))
		}
		return nil
	}
}

// version is the module's version as the go command recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
