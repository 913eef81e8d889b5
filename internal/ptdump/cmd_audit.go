package ptdump

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/audit"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/usage"
	"ptemu/linux/proc"
)

const auditLong = `Look through all page tables in a capture for what cannot be in those of a sound Linux machine: memory that is writable
and executable, private pages that two processes share, page tables that are mapped as memory, write protection of
userfaultfd that does not protect, entries that no kernel writes, and some forty more. Each rule has a name;
--list prints them, --explain NAME says why it matters, how it is decided, and what may look like it.

The kernel half is read once, the user half of each process too. Rules about areas (VMAs) need the processes, which are
found in captures of whole machines; without them the trees that processors run on are audited, and the rules that
could not be decided are named on stderr.

A finding is an error, a warning or a note. It may be explained: ptdump knows why it is as it should be, as memory
that a program asked to be writable and executable. Explained findings are notes, and do not count for the exit code.

Formats:
  text   the worst first, two lines or more a finding
  jsonl  one object a line; kind is "finding", "not-run" (a rule, and why), "dropped" (a rule has more findings than are
         listed) or "note"
  json   the same objects as one array
  csv    a header and one record an object
  --sarif  SARIF 2.1.0, for tools that collect findings; explained ones are suppressed results

Fields of a finding:
  rule, severity ("error", "warning", "note"), text; explained, if it is
  space      "process", with pids and comm; "kernel"; or whose tree it is
  region     of the kernel half, or what the area of a process maps
  va, size   the addresses; count: how many entries in them break the rule
  level, raw, entry_pa   of the first entry; pfn: its frame
  others     more places that the finding is about, of the first entry: space, va, level, raw, entry_pa
  others_more  how many were left out`

const auditExample = `  ptdump audit vmcore
  ptdump audit --min-severity warning --sarif -o audit.sarif vmcore
  ptdump audit --only uffd-wp-writable,soft-dirty-clean-writable vmcore
  ptdump audit --format jsonl vmcore | jq -c 'select(.explained | not) | [.rule, .va, .comm]'
  ptdump audit --explain shared-private-page`

// auditFlags are the flags of ptdump audit.
type auditFlags struct {
	only, skip   []string
	min, explain string
	list, sarif  bool
}

func newAuditCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit [flags] CAPTURE",
		Short:   "Look for what cannot be in the page tables of a sound machine",
		Long:    auditLong + "\n\n" + exitCodesHelp,
		Example: auditExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.audit.list || o.audit.explain != "" {
				return nil
			}
			return captureArgs(0, "")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.runAudit(cmd, args) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&o.audit.only, "only", nil, "look only for the rules with these `NAMES`, with commas")
	f.StringSliceVar(&o.audit.skip, "skip", nil, "do not look for the rules with these `NAMES`")
	choice(cmd, &o.audit.min, "min-severity", "", audit.SeverityNames, "leave out findings that are less than this `SEVERITY`")
	f.BoolVar(&o.audit.sarif, "sarif", false, "write SARIF 2.1.0")
	f.BoolVar(&o.audit.list, "list", false, "list the rules, and end")
	f.StringVar(&o.audit.explain, "explain", "", "print the documentation of the rule with this `NAME`, and end")
	for _, flag := range []string{"only", "skip", "explain"} {
		complete(cmd, flag, audit.RuleNames())
	}
	o.addJobs(cmd)
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	o.addPID(cmd)
	return cmd
}

func (o *options) runAudit(cmd *cobra.Command, args []string) error {
	opt, err := audit.Choose(o.audit.only, o.audit.skip, o.audit.min)
	switch {
	case err != nil:
		return err
	case o.audit.list || o.audit.explain != "":
		return o.auditHelp()
	case o.audit.sarif && cmd.Flags().Changed("format"):
		return usage.Errorf("--sarif is a format of its own: it does not go with --format")
	case cmd.Flags().Changed("root"):
		return usage.Errorf("an audit looks at all root tables: it does not take --root")
	}
	failed := false
	err = o.runOn(cmd, args[0], openForAudit, func(w *work) error {
		w.tally.emptyRoot = false
		in, err := o.auditTargets(cmd, w)
		if err != nil {
			return err
		}
		rep, err := in.Audit(cmd.Context(), opt, o.workers())
		if err != nil {
			return err
		}
		failed = rep.Failed()
		b, err := o.auditOutput(rep, w, args[0])
		if err != nil {
			return err
		}
		if _, err := w.out.Write(b); err != nil {
			return err
		}
		rep.Summarize(o.stderr)
		return nil
	})
	if err == nil && failed {
		err = errFinding
	}
	return err
}

// openForAudit is [OpenForProcesses]; --pid is not looked at before the processes are known.
func openForAudit(ctx context.Context, path string, m *session.Options) (*session.Session, error) {
	all := *m
	all.Process = nil
	return session.OpenForProcesses(ctx, path, &all)
}

// auditHelp prints --list or --explain.
func (o *options) auditHelp() error {
	text, err := audit.RuleTexts(o.audit.explain, o.format)
	if err != nil {
		return err
	}
	out, err := openOut(o.out, o.stdout, "")
	if err != nil {
		return err
	}
	defer out.drop()
	if _, err := out.Write(text); err != nil {
		return err
	}
	return out.keep()
}

// auditTargets finds what to audit: all processes, or what there is if they cannot be found.
func (o *options) auditTargets(cmd *cobra.Command, w *work) (*audit.Input, error) {
	named, err := o.process(cmd.Flags())
	if err != nil {
		return nil, err
	}
	if w.System.Chosen != nil {
		return audit.NewInput(w.Tree, nil, "--cr3 names one tree", nil)
	}
	bar := report.StartProgress(o.stderr, "looking for processes", 0)
	spaces, err := w.Processes(cmd.Context(), proc.Options{Progress: bar.Set})
	bar.Stop()
	switch {
	case cmd.Context().Err() != nil:
		return nil, cmd.Context().Err()
	case err != nil && named != nil:
		return nil, fmt.Errorf("%s: --pid: %w", w.Capture.Path, err)
	case err != nil:
		return audit.NewInput(w.Tree, nil, strings.ReplaceAll(err.Error(), "\n", "; "), nil)
	}
	warnAll(o.stderr, spaces.Procs.Warnings)
	var pid *int
	if named != nil {
		p, _, err := spaces.Named(*named)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.Capture.Path, err)
		}
		pid = &p.PID
	}
	in, err := audit.NewInput(w.Tree, spaces, "", pid)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.Capture.Path, err)
	}
	return in, nil
}

func (o *options) auditOutput(rep *audit.Report, w *work, path string) ([]byte, error) {
	if !o.audit.sarif {
		return rep.In(o.format, w.colors)
	}
	exit := exitOK
	if rep.Failed() {
		exit = exitFinding
	}
	return rep.SARIF(version(), path, exit)
}
