package ptdump

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/ps"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/runs"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/usage"
)

const mapsLong = `Print the areas (VMAs) of a process with what their entries say: beside what an area allows, what its entries permit.
Figures are pages of 4 KiB; see ptdump ps. Where entries lie outside of every area, a line of its own says so.

A line says: addresses, size, the rights of the area as in /proc/PID/maps, the rights that its page protection gives to
new entries, the figures, all combinations of rights that entries have, what else there is, and the file or the purpose.
"!+w" marks entries that are writable where the area does not allow it. Both are findings: the exit code is 1.

PID may also be the name of the process, if only one has it, or its root table as ptdump ps prints it, "0x…". Where only the root of a process is known, ranges of
entries are printed in place of areas, as ptdump dump does.

Formats:
  text   aligned columns; with --smaps, blocks of kB figures as in /proc/PID/smaps
  jsonl  one object an area
  json   the same objects as one array
  csv    a header and one record an area; lists are joined with |

Fields of an object:
  pid, kind   kind: "vma", "stray" for entries between areas, "problem" for what could not be read
  start, end  "0x…", the end is excluded; size: bytes
  perms       as in /proc/PID/maps; flags: as the line VmFlags of smaps; vm_flags: the number
  prot        rights that new entries get; page_prot: the number
  offset, dev, inode, name            the file, as in /proc/PID/maps; anon: has, or had, private pages
  resident, swapped, huge, …          as in ptdump ps
  rss         pages as smaps counts them
  entry_rights                        effective rights of entries, every combination that occurs
  excess      rights, of "wx", that an entry has and the area does not allow`

const mapsExample = `  ptdump maps vmcore 1
  ptdump maps --format jsonl vmcore 1 | jq -c 'select(.excess)'
  ptdump maps --smaps vmcore 1`

// mapsOptions are the flags of ptdump maps.
type mapsOptions struct{ smaps bool }

func newMapsCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "maps [flags] CAPTURE PID",
		Short:   "Print the areas of a process, and what their entries say",
		Long:    mapsLong + "\n\n" + exitCodesHelp,
		Example: mapsExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 2 {
				return usage.Errorf("one process at a time, but %d arguments are given: %s", len(args), strings.Join(args, " "))
			}
			return captureArgs(1, "PID")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.runMaps(cmd, args[0], args[1]) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&o.maps.smaps, "smaps", false, "print kB figures in blocks, as /proc/PID/smaps")
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	cmd.ValidArgsFunction = completeCaptureAndPID
	return cmd
}

func (o *options) runMaps(cmd *cobra.Command, path, who string) error {
	if o.maps.smaps && o.format != "text" {
		return usage.Errorf("--smaps is text: it does not go with --format %s", o.format)
	}
	named, err := space.ParseName(who)
	if err != nil {
		return &usage.Error{Err: err}
	}
	return o.runSpaces(cmd, path, func(w *work, m *space.Machine) error {
		p, s, err := m.Named(named)
		if err == nil && s == nil {
			err = space.NoSpace(p)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if len(s.MM.Areas) == 0 {
			return o.mapsOfRoot(cmd, w, s)
		}
		if s.MM.AreasErr != "" {
			fmt.Fprintf(o.stderr, "ptdump: warning: the areas are not all known: %s\n", report.Printable(s.MM.AreasErr))
		}
		areas, err := ps.AreasOf(cmd.Context(), s)
		if err != nil {
			return err
		}
		for i := range areas.Problems {
			w.tally.Problem(&areas.Problems[i])
		}
		lines := areas.Lines(m.Procs, p.PID)
		for _, l := range lines {
			if l.Kind == "stray" {
				w.tally.strays++
			}
			if l.Excess != "" {
				w.tally.excess++
			}
		}
		b, err := areas.In(lines, o.format, o.maps.smaps, w.colors)
		if err != nil {
			return err
		}
		_, err = w.out.Write(b)
		return err
	})
}

// mapsOfRoot prints ranges of entries, as there are no areas to print.
func (o *options) mapsOfRoot(cmd *cobra.Command, w *work, s *space.Space) error {
	why := "the process has none"
	switch {
	case s.MM.AreasErr != "":
		why = s.MM.AreasErr
	case s.MM.Addr == 0:
		why = "only its root table was found"
	}
	fmt.Fprintf(o.stderr, "ptdump: warning: no areas are known (%s): ranges of entries are printed\n", report.Printable(why))
	out := runs.NewWriter(cmd.Context(), w.out, runs.NewFormat(o.format, w.ABI, w.colors))
	out.Tally = &w.tally.Tally
	if err := runs.Walk(s.Tree, s.UserHalf(), w.System.Markers(), out); err != nil {
		return err
	}
	return out.Close()
}
