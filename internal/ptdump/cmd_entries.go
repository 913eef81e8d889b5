package ptdump

import (
	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/entries"
)

const entriesLong = `Print every non-empty entry in leaf position, one a line, in address order: what maps a page of 4K, 2M or 1G, and what
stands in such a place without mapping one.

Formats:
  text   aligned columns; a line that begins with ! is a part of the address space that could not be explained
  jsonl  one object a line
  json   the same objects as one array
  csv    a header and one record an entry, with the same fields; lists are joined with |, swap.type is swap_type

Fields of an object:
  va         canonical address, "0x" and 16 hex digits
  level      "pte", "pmd" or "pud"; size: bytes
  raw        the entry, 16 hex digits; entry_pa: the physical address where it is
  kind       ` + "`present protnone swap migration device-private device-exclusive hwpoison marker swapin-error unknown`" + `
             (unknown: in the kernel half, a page that was taken out of the mapping: not present)
  pfn        frame number, where the entry names one
  bits       names of the flags that are set, as the kernel calls them
  rights     {"r","w","x","u"}: effective, over all levels of the walk; u is access from user mode
  pkey       protection key, of every page
  reserved   reserved bits that are set, 16 hex digits, if any: no access through the entry succeeds
  invalid    why no kernel writes such an entry, if that is so (in the user half): bits without a meaning, a kind that
             cannot be here, a slot that no device has, a frame that the machine cannot have
  swap       {"type","offset","uffd_wp","soft_dirty","exclusive"}, of swap forms: of all kinds but present, protnone
             and unknown; offset as /proc/pid/pagemap shows it
  migration  {"access","young","dirty"}: how the page was mapped: read, read-exclusive or write
  device     {"write"}: of device entries
  marker     what the marker says: uffd-wp, poisoned, guard
Where a part of the address space cannot be explained, an object of the kind "problem" stands in its place. It has
"problem" (a sentence),
"reason" (` + "`absent excluded loop aliased reserved bad-entry unreadable`" + `), va, size, level, raw and
entry_pa; if neighbours share the problem, raw and entry_pa are those of the first.`

const entriesExample = `  ptdump entries vmcore
  ptdump entries --kind swap,migration --user vmcore
  ptdump entries --where 'w && x && !u' vmcore         kernel memory that is writable and executable
  ptdump entries --range 7f0000000000+2M vmcore
  ptdump entries --range _stext-_etext vmcore
  ptdump entries --format jsonl vmcore.gz | jq -c 'select(.marker)'`

func newEntriesCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "entries [flags] CAPTURE",
		Short:   "Print every entry, one a line",
		Long:    entriesLong + "\n\n" + exitCodesHelp,
		Example: entriesExample,
		Args:    captureArgs(0, ""),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.runEntries(cmd, args[0]) },
	}
	o.addWalk(cmd)
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	o.addPID(cmd)
	return cmd
}

func (o *options) runEntries(cmd *cobra.Command, path string) error {
	return o.run(cmd, path, func(w *work) error {
		out := entries.NewWriter(cmd.Context(), w.out, entries.NewFormat(o.format, w.ABI, w.colors))
		out.Tally = &w.tally.Tally
		for _, f := range w.filters {
			if err := w.Walk(f, out); err != nil {
				return err
			}
		}
		o.noteNothing(w.tally)
		return out.Close()
	})
}
