package ptdump

import (
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/internal/ptdump/kept"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/usage"
	"ptemu/linux/proc"
)

const extractLong = `Write a small capture that holds the page tables only: every table that a processor, the kernel or a process has, the
notes of the capture, and what was found out about the kernel and its processes. No other memory is in it, so it can be
sent in a bug report; all commands of ptdump work on it, as far as they do not need memory's contents.

Names of processes, files and areas are in it (--without-names leaves them out), and so are addresses. Frames are written as
they are: what a damaged entry takes for a table goes in too.

The output is an ELF core; with .zst or .gz at the end of FILE it is compressed. All other frames are in it as
excluded, so that a frame of RAM can still be told from one that is not.`

const extractExample = `  ptdump extract vmcore -o tables.elf.zst
  ptdump extract --pid 812,901 --without-names vmcore -o tables.elf
  ptdump extract qmp:/run/vm.qmp -o now.elf.zst        of a running guest, paused meanwhile`

func newExtractCommand(o *options) *cobra.Command {
	var pids []int
	var anonymous bool
	cmd := &cobra.Command{
		Use:     "extract [flags] CAPTURE -o OUT.elf[.zst|.gz]",
		Short:   "Write a capture of the page tables alone, for a bug report",
		Long:    extractLong + "\n\n" + exitCodesHelp,
		Example: extractExample,
		Args:    captureArgs(0, ""),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.runExtract(cmd, args[0], extraction{pids: pids, anonymous: anonymous})
		},
	}
	cmd.Flags().SortFlags = false
	cmd.ValidArgsFunction = completeCaptures(1)
	cmd.Flags().StringVarP(&o.out, "output", "o", "", "write to `FILE`, which appears only when it is whole")
	cmd.Flags().IntSliceVar(&pids, "pid", nil, "only the tables of the processes with these `PIDS`, and the kernel's")
	cmd.Flags().BoolVar(&anonymous, "without-names", false, "leave out the names of processes, files and areas")
	o.addMachine(cmd)
	return cmd
}

// extraction says what to take.
type extraction struct {
	pids      []int // none: all
	anonymous bool
}

func (o *options) runExtract(cmd *cobra.Command, path string, x extraction) error {
	if f, ok := o.stdout.(interface{ Fd() uintptr }); ok && (o.out == "" || o.out == "-") && term.IsTerminal(int(f.Fd())) {
		return usage.Errorf("a capture is not for a terminal: give -o FILE")
	}
	return o.runOn(cmd, path, session.OpenForProcesses, func(w *work) error {
		w.tally.emptyRoot = false
		bar := report.StartProgress(o.stderr, "looking for processes", 0)
		spaces, err := w.Processes(cmd.Context(), proc.Options{Progress: bar.Set})
		bar.Stop()
		k := &kept.Facts{From: w.Capture.Format, Kernel: w.System.Known()}
		switch {
		case err != nil && len(x.pids) > 0:
			return fmt.Errorf("%s: %w", path, err)
		case err != nil:
			k.Why = err.Error()
			fmt.Fprintf(o.stderr, "ptdump: warning: only the tables of the processors and the kernel are taken: %v\n", err)
			spaces = &space.Machine{}
		default:
			warnAll(o.stderr, spaces.Procs.Warnings)
			if k.Processes, err = x.choose(spaces); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		tables, err := x.tables(w, k.Processes)
		if err != nil {
			return err
		}
		if tables.Missing > 0 {
			fmt.Fprintf(o.stderr, "ptdump: warning: %s not in the capture\n", report.Plural(tables.Missing, "table"))
		}
		if x.anonymous {
			removeNames(k.Processes)
		}
		return w.writeTables(o.out, k, tables)
	})
}

// choose returns the processes to take.
func (x *extraction) choose(m *space.Machine) (*proc.Processes, error) {
	if len(x.pids) == 0 {
		return m.Procs, nil
	}
	chosen := *m.Procs
	chosen.List = nil
	for _, pid := range slices.Compact(slices.Sorted(slices.Values(x.pids))) {
		p, _, err := m.Find(pid)
		if err != nil {
			return nil, err
		}
		chosen.List = append(chosen.List, p)
	}
	return &chosen, nil
}

// tables finds the tables to take: the kernel's, the processes', and those that processors run on, unless the processes
// are chosen.
func (x *extraction) tables(w *work, procs *proc.Processes) (*kept.Tables, error) {
	t := kept.NewTables()
	if r := w.System.InitMM; r != nil {
		if err := t.Add(w.Tree, *r); err != nil {
			return nil, err
		}
	}
	if r := w.System.Chosen; r != nil {
		if err := t.Add(w.Tree, *r); err != nil {
			return nil, err
		}
	}
	for _, c := range w.System.CPUs {
		if c.Err == nil && len(x.pids) == 0 {
			if err := t.Add(w.Tree, c.Roots); err != nil {
				return nil, err
			}
		}
	}
	if procs != nil {
		for _, p := range procs.List {
			if p.MM != nil {
				if err := t.Add(w.Tree, p.MM.Roots); err != nil {
					return nil, err
				}
			}
		}
	}
	return t, nil
}

// writeTables writes the capture.
func (w *work) writeTables(name string, k *kept.Facts, t *kept.Tables) error {
	note, err := k.Note()
	if err != nil {
		return err
	}
	notes := slices.DeleteFunc(slices.Clone(w.Capture.Notes), func(n elfnote.Note) bool { return n.Name == kept.NoteName })
	if w.Capture.VMCoreInfo != nil && elfnote.VMCoreInfo(notes) == nil {
		notes = append(notes, elfnote.VMCoreInfoNote(w.Capture.VMCoreInfo))
	}
	out, err := compressor(w.out, name)
	if err != nil {
		return err
	}
	mem := t.Only(w.Mem)
	if err := elfcore.Write(out, mem, mem.Ranges(), append(notes, note)); err != nil {
		return err
	}
	return out.Close()
}

// compressor compresses what is written as the file's name says.
func compressor(w io.Writer, name string) (io.WriteCloser, error) {
	switch {
	case strings.HasSuffix(name, ".zst"):
		return zstd.NewWriter(w)
	case strings.HasSuffix(name, ".gz"):
		return gzip.NewWriter(w), nil
	}
	return nopCloser{w}, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// removeNames leaves out all that people or programs have named.
func removeNames(p *proc.Processes) {
	if p == nil {
		return
	}
	for _, process := range p.List {
		process.Comm = ""
		for i := range process.Threads {
			process.Threads[i].Comm = ""
		}
		if process.MM == nil {
			continue
		}
		for i := range process.MM.Areas {
			a := &process.MM.Areas[i]
			if strings.HasPrefix(a.Name, "[anon") {
				a.Name = "[anon]"
			}
			if a.File != nil {
				a.File.Path = ""
			}
		}
	}
}
