package ptdump

import (
	"strings"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/usage"
	"ptemu/internal/ptdump/who"
)

const whoLong = `Print who maps a frame of physical memory: every virtual address, of every process and of the kernel, at which it can be
reached, with the rights that all levels together give; within large pages too. Entries without P that name the frame
(migration, device, poison; in the kernel half, pages taken out of the mapping) are listed, and what the frame is if it is
a page table itself.

A frame is named by an address in it, hex, or as pfn:N, N decimal or 0x…. A-B (B excluded) and A+SIZE ask for all frames
of a range. --swap asks for the entries that name a slot of a swap device. Several questions cost one walk.

The kernel's half is the same for all processes and is listed once, without a PID; all memory is in its direct map.
Processes that share an address space are listed each.

--all turns the whole capture around: every frame that is mapped anywhere, in order, as ranges of frames that the same
address spaces map with the same rights: how often, by whom. The direct map counts only as such: frames that nothing
else maps are left out. With it, --min keeps what is mapped at least so often. A kernel table that several entries
lead to, as for KASAN, counts once.

Formats:
  text   a line about each frame asked for, and an aligned line for each place that maps it
  jsonl  an object of kind "frame" or "slot" about what is asked for, then one for each place
  json   the same objects as one array
  csv    a header and one record of each object

Fields of a place:
  target      as given on the command line
  kind        as in ptdump entries; "table" for a page table in the frame, "root" for a root table: va is then the first
              address that it translates, level that of its entries, raw and entry_pa of the entry that leads there
  pa, pfn     of the first frame; size: bytes, more than a page if neighbouring entries go on to the next frames
  pid, comm   null and "kernel" for the kernel
  va          of the page that maps the frame, "0x…"
  level, rights, bits, raw, entry_pa  of the first entry, as in ptdump entries
  region      part of the kernel's half; area: start, end, perms and name of the area of a process
  swap        type, offset, uffd_wp, soft_dirty, exclusive of a swap form; access of a migration entry, write of a device's
Fields of the object about what is asked for: kind, target, pa, pfn, count, in_ram (how many frames are memory, as the capture's list
or the direct map says), content
("yes", "excluded", "absent": whether the capture holds the first), mappings, not_present, processes, tables.
Fields with --all: pa, pfn, frames, mappings (of each frame), user, kernel, not_present (entries without P that name it),
direct_map, writable, executable (how many of the mappings), rights (all together), processes, pids; more_pids if there
are more than listed.`

const whoExample = `  ptdump who vmcore 1234000
  ptdump who vmcore pfn:0x1234 pfn:4661
  ptdump who --user vmcore 40000000+2M
  ptdump who --swap 0:0x1234 vmcore
  ptdump who --all --min 2 --user vmcore       memory that is shared`

// whoOptions are the flags of ptdump who.
type whoOptions struct {
	swap []string
	all  bool
	min  uint64
}

func newWhoCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "who [flags] CAPTURE PA...",
		Short:   "Print who maps a frame, or all of them",
		Long:    whoLong + "\n\n" + exitCodesHelp,
		Example: whoExample,
		Args: func(cmd *cobra.Command, args []string) error {
			more := 1
			if o.who.all || len(o.who.swap) > 0 {
				more = 0
			}
			if len(args) > 1 {
				more = 1
			}
			return captureArgs(more, "address")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return o.runWho(cmd, args[0], args[1:]) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.who.swap, "swap", nil, "who has an entry for this `TYPE:OFFSET` of swap; TYPE:A-B for several; may be repeated")
	f.BoolVar(&o.who.all, "all", false, "turn the whole capture around")
	f.Uint64Var(&o.who.min, "min", 1, "with --all, only what is mapped at least `N` times")
	f.BoolVar(&o.user, "user", false, "only the processes, not the kernel")
	o.addJobs(cmd)
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	return cmd
}

// targets are what the command line asks for.
func (o *options) targets(args []string) ([]who.Target, error) {
	var all []who.Target
	for _, a := range args {
		t, err := who.ParseFrames(a)
		if err != nil {
			if va, e := usage.Hex("", a); e == nil && int64(va) < 0 {
				err = usage.Errorf("%s is a virtual address: ptdump translate tells its physical one", a)
			}
			return nil, err
		}
		all = append(all, t)
	}
	for _, a := range o.who.swap {
		t, err := who.ParseSlot(a)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func (o *options) runWho(cmd *cobra.Command, path string, args []string) error {
	targets, err := o.targets(args)
	switch {
	case err != nil:
		return err
	case o.who.all && len(targets) > 0:
		return usage.Errorf("--all asks for every frame: %s is too much", strings.Join(append(args, o.who.swap...), " "))
	case !o.who.all && cmd.Flags().Changed("min"):
		return usage.Errorf("--min goes with --all")
	}
	return o.runSpaces(cmd, path, func(w *work, m *space.Machine) error {
		search := &who.Search{Tree: w.Tree, Spaces: m, UserOnly: o.user, Workers: o.workers(), Tally: &w.tally.Tally}
		if o.who.all {
			to := who.Output{W: w.out, Format: o.format, Colors: w.colors, Min: o.who.min}
			return search.EveryFrame(cmd.Context(), to)
		}
		answers, err := search.Find(cmd.Context(), targets)
		if err != nil {
			return err
		}
		return who.Write(w.out, o.format, w.colors, answers)
	})
}
