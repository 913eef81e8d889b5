package ptdump

import (
	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/ps"
	"ptemu/internal/ptdump/space"
)

const psLong = `Print every process in a capture: its root table, and what its page tables say that it has in memory, in swap, and so on.
Kernel threads are listed too; they have no tables of their own. No vmlinux and no debug information is needed: the
processes are found by what the kernel's memory says of itself.

Figures are pages of 4 KiB, so that a leaf of 2 MiB counts 512. They come from the entries of the user half, not from the
counters of the kernel. An address space that several processes run on is counted once in the totals; the later ones
name the first.

Formats:
  text   aligned columns, and a line of totals
  jsonl  one object a process
  json   the same objects as one array
  csv    a header and one record a process

Fields of an object:
  pid, tgid, ppid, comm   null where only a root table was found; kernel: a kernel thread
  threads     how many there are; with --threads an object follows for each but the first, with thread and without figures
  root        physical address of the root table, "0x…", of a PTI pair the kernel's, null without an address space;
              user_root: the other of the pair
  shares_mm_with          the PID of the first process on the same address space
  areas       how many areas (VMAs) it has; areas_error: why they are not all known
  resident    mapped, whoever may touch them: PROT_NONE and the zero page too
  swapped     in a slot of a swap device
  huge        of the resident: by leaves of 2M and 1G; huge_pmd, huge_pud: how many leaves
  uffd_wp     write-protected through userfaultfd, whether resident, swapped or a marker
  soft_dirty  the entry has the soft-dirty bit, resident or swapped
  writable, executable, dirty, accessed, protnone    of the resident
  special     of the resident: entries without a struct page, as of devices, and the zero page; Rss leaves them out
  migration, device, hwpoison, markers, other        not resident, and not in swap
  page_tables how many below the root; page_table_bytes
  problems    parts of the address space that could not be read; problem_reasons: how many by reason`

const psExample = `  ptdump ps vmcore
  ptdump ps --sort swapped vmcore
  ptdump ps --format jsonl vmcore | jq -c 'select(.uffd_wp > 0) | [.pid, .comm]'
  ptdump dump --pid 1 --user vmcore        the tables of one of them`

// psOptions are the flags of ptdump ps.
type psOptions struct {
	sort    string
	threads bool
}

func newPsCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ps [flags] CAPTURE",
		Short:   "Print the processes, and what their page tables hold",
		Long:    psLong + "\n\n" + exitCodesHelp,
		Example: psExample,
		Args:    captureArgs(0, ""),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.runPs(cmd, args[0]) },
	}
	cmd.Flags().SortFlags = false
	choice(cmd, &o.ps.sort, "sort", "", ps.SortKeys(), "sort by this `KEY`, figures with the largest first")
	cmd.Flags().BoolVar(&o.ps.threads, "threads", false, "list the threads of each process too")
	o.addJobs(cmd)
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	return cmd
}

func (o *options) runPs(cmd *cobra.Command, path string) error {
	return o.runSpaces(cmd, path, func(w *work, m *space.Machine) error {
		list, err := ps.List(cmd.Context(), m, o.workers(), &w.tally.Tally)
		if err != nil {
			return err
		}
		list.Sort(o.ps.sort)
		if o.ps.threads {
			list.AddThreads(m.Procs.List)
		}
		b, err := list.In(o.format, w.colors)
		if err != nil {
			return err
		}
		_, err = w.out.Write(b)
		return err
	})
}
