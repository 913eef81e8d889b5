package ptdump

import (
	"context"
	"fmt"
	"math"
	"path/filepath"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/picture"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/usage"
	"ptemu/linux/proc"
)

// mapOptions are the flags of map alone.
type mapOptions struct {
	*options
	format, maxSize string
}

var mapFormats = []string{"auto", "html", "svg"}

const mapLong = `Draw an address space, from the whole of it to the bits of one entry.

As HTML it is one page that needs neither this program nor a network: open it in a browser. Colours show the kind of the
entries, their effective rights, their level, their state (accessed, dirty, soft-dirty, userfaultfd write-protected) or
their protection key. Press ? in the page for the keys; /ADDRESS goes to an address, as does #va=ADDRESS behind the name of the file.

As SVG it is the first view alone, to print or to put into a report.

With a PID (or the name of a process, if only one has it) it is the address space of that process, and its areas are shown beside the entries. Without, that of the root that
the other flags choose.

A page holds every entry, with all its bits, unless it would be larger than --max-size: then first the frames of those tables are left out that
take most room, then all but counts. The page and a note on stderr say so.`

const mapExample = `  ptdump map vmcore -o map.html
  ptdump map vmcore 1234 -o map.html
  ptdump map vmcore --root swapper -o kernel.svg
  ptdump map vmcore 1 --max-size 2M -o small.html`

func newMapCommand(o *options) *cobra.Command {
	m := &mapOptions{options: o}
	cmd := &cobra.Command{
		Use:     "map [flags] CAPTURE [PID]",
		Short:   "Draw an address space as a page for the browser, or as a picture",
		Long:    mapLong + "\n\n" + exitCodesHelp,
		Example: mapExample,
		Args:    mapArgs,
		RunE:    func(cmd *cobra.Command, args []string) error { return m.run(cmd, args) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	cmd.ValidArgsFunction = completeCaptureAndPID
	choice(cmd, &m.format, "format", "f", mapFormats, "draw as `FORMAT`; auto: what the name of the file says")
	f.StringVarP(&o.out, "output", "o", "", "write to `FILE`, which appears only when it is whole")
	f.StringVar(&m.maxSize, "max-size", "16M", "leave out details rather than write a page of more than `SIZE` bytes; 0: whatever it takes")
	o.addMachine(cmd)
	o.addPID(cmd)
	return cmd
}

func mapArgs(_ *cobra.Command, args []string) error {
	switch len(args) {
	case 0:
		return usage.Errorf("no capture given")
	case 1, 2:
		return nil
	}
	return usage.Errorf("a capture and one PID at most, but %d arguments are given", len(args))
}

func (o *mapOptions) run(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		if cmd.Flags().Changed("pid") {
			return usage.Errorf("a PID and --pid are given: give one of them")
		}
		if err := cmd.Flags().Set("pid", args[1]); err != nil {
			return err
		}
	}
	size, err := usage.Number(o.maxSize)
	if err != nil || size > math.MaxInt32 {
		return usage.Errorf("--max-size %q: want a number of bytes below 2G, as 16M", o.maxSize)
	}
	svg, err := o.svg()
	if err != nil {
		return err
	}
	return o.options.run(cmd, args[0], func(w *work) error { return w.drawMap(cmd.Context(), o.options, svg, int(size)) })
}

// svg decides between a page and a picture.
func (o *mapOptions) svg() (svg bool, err error) {
	if o.format != "auto" {
		return o.format == "svg", nil
	}
	switch filepath.Ext(o.out) {
	case ".svg":
		return true, nil
	case ".html", ".htm":
		return false, nil
	}
	return false, usage.Errorf("-o %q: give a file that ends in .html or .svg, or --format", o.out)
}

// drawMap makes the picture and writes it.
func (w *work) drawMap(ctx context.Context, o *options, svg bool, max int) error {
	p, spaces, err := w.whose(ctx)
	if err != nil {
		return err
	}
	info := picture.NewInfo(w.Tree, w.RootWhy, p, spaces)
	if err = info.AddAtlas(ctx, w.Tree, &w.tally.Tally); err != nil {
		return err
	}
	var b []byte
	if svg {
		b = info.SVG()
	} else if b, err = w.htmlMap(ctx, o, info, max); err != nil {
		return err
	}
	_, err = w.out.Write(b)
	return err
}

func (w *work) htmlMap(ctx context.Context, o *options, info *picture.Info, max int) ([]byte, error) {
	pic, err := picture.Draw(ctx, w.Tree, 16*max)
	if err != nil {
		return nil, err
	}
	frame, err := info.Page("")
	if err != nil {
		return nil, err
	}
	room := 0
	if max > 0 {
		if room = max - len(frame); room <= 0 {
			return nil, usage.Errorf("--max-size: the page needs %d bytes before there is anything in it", len(frame))
		}
	}
	data, err := pic.Pack(info, room)
	if err != nil {
		return nil, err
	}
	if pic.Cut.NoNumbers+pic.Cut.Summarized > 0 {
		fmt.Fprintf(o.stderr, "ptdump: note: left out of the page: %s\n", &pic.Cut)
	}
	return info.Page(data)
}

// whose returns the process whose tables are drawn: the one asked for, or that which runs on the root. Nil if there is none.
func (w *work) whose(ctx context.Context) (*proc.Process, *space.Machine, error) {
	if w.Process != nil {
		return w.Process, w.Spaces, nil
	}
	spaces, err := w.Processes(ctx, proc.Options{})
	if err != nil {
		return nil, nil, ctx.Err() // the tables are worth a picture, whoever uses them
	}
	return spaces.Runner(w.Root), spaces, nil
}
