package ptdump

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/session"
)

const infoLong = `Print what is in a capture: its format, memory and processors; which kernel and which root tables were found in it and
how; and what had to be assumed because the capture does not tell. Flags overrule what is found. What can be read is
printed even where the root table that the capture names cannot be: that is among the warnings, and the exit code is 1.

Formats:
  text   for reading
  json   one object; jsonl: the same on one line
  csv    the same as records of section, key and value; lists are joined with |`

const infoExample = `  ptdump info vmcore
  ptdump info --format json vmcore | jq .assumed
  ptdump info --input raw --cr3 1062000 memory.bin`

func newInfoCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "info [flags] CAPTURE",
		Short:   "Print what is in a capture, what was found and what was assumed",
		Long:    infoLong + "\n\n" + exitCodesHelp,
		Example: infoExample,
		Args:    captureArgs(0, ""),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.runInfo(cmd, args[0]) },
	}
	o.addOutput(cmd, formatNames)
	o.addMachine(cmd)
	return cmd
}

func (o *options) runInfo(cmd *cobra.Command, path string) error {
	m, err := o.machine(cmd.Flags())
	if err != nil {
		return err
	}
	bar := o.unpacking(path, m)
	in, err := session.Open(cmd.Context(), path, m)
	bar.end()
	if in != nil {
		defer in.Close()
	}
	if in == nil || cmd.Context().Err() != nil {
		return err
	}
	out, openErr := openOut(o.out, o.stdout, path)
	if openErr != nil {
		return openErr
	}
	defer out.drop()
	colors, openErr := report.NewPalette(o.color, out.Writer)
	if openErr != nil {
		return openErr
	}
	i := makeInfo(in, err)
	b, err := i.in(o.format, colors)
	if err != nil {
		return err
	}
	if _, err := out.Write(b); err != nil {
		return err
	}
	if err := out.keep(); err != nil {
		return err
	}
	if i.unusable != "" {
		fmt.Fprintf(o.stderr, "ptdump: %s\n", report.Printable(i.unusable))
		return errFinding
	}
	return nil
}

// in returns the info in one of the formats.
func (i *info) in(format string, c report.Palette) ([]byte, error) {
	switch format {
	case "json":
		b, err := json.MarshalIndent(i, "", "  ")
		return append(b, '\n'), err
	case "jsonl":
		b, err := json.Marshal(i)
		return append(b, '\n'), err
	case "csv":
		return csvBytes(i.rows())
	}
	return i.text(c), nil
}

// rows is the info as CSV. A field that the JSON form leaves out has no row.
func (i *info) rows() [][]string {
	rows := [][]string{{"section", "key", "value"}}
	add := func(section, key, value string) {
		if value != "" {
			rows = append(rows, []string{section, key, value})
		}
	}
	roots := func(section string, r *infoRoots) {
		if r == nil {
			return
		}
		add(section, "kernel_root", r.Kernel)
		add(section, "user_root", r.User)
		add(section, "pti", fmt.Sprint(r.PTI))
		add(section, "why", r.Why)
	}
	found := func(section string, fs []infoFinding) {
		for _, f := range fs {
			add(section, f.What, f.Value)
			add(section, f.What+" why", f.Why)
		}
	}
	add("capture", "path", i.Path)
	add("capture", "format", i.Format)
	add("capture", "size", fmt.Sprint(i.Size))
	add("capture", "memory", fmt.Sprint(i.Memory))
	for _, r := range i.Ranges {
		add("memory", r.Start, r.End)
	}
	if i.MoreRanges > 0 {
		add("capture", "more_ranges", fmt.Sprint(i.MoreRanges))
	}
	add("kernel", "release", i.Release)
	add("kernel", "profile", i.Profile)
	add("kernel", "device_private", fmt.Sprint(i.DevicePrivate))
	add("kernel", "levels", fmt.Sprint(i.Levels))
	add("kernel", "phys_bits", fmt.Sprint(i.PhysBits))
	add("kernel", "kaslr_offset", i.KASLROffset)
	add("kernel", "phys_base", i.PhysBase)
	roots("init_mm", i.InitMM)
	if i.Root != nil {
		add("root", "addr", i.Root.Addr)
		add("root", "why", i.Root.Why)
	}
	for _, c := range i.CPUs {
		section := fmt.Sprint("cpu ", c.CPU)
		add(section, "cr0", c.CR0)
		add(section, "cr0_bits", strings.Join(c.CR0Bits, "|"))
		add(section, "cr3", c.CR3)
		add(section, "cr4", c.CR4)
		add(section, "cr4_bits", strings.Join(c.CR4Bits, "|"))
		add(section, "efer", c.EFER)
		add(section, "efer_bits", strings.Join(c.EFERBits, "|"))
		add(section, "mode", c.Mode)
		add(section, "rip", c.RIP)
		roots(section, c.Roots)
		add(section, "error", c.Error)
	}
	for _, r := range i.Regions {
		add("region", r.Addr, r.Name)
	}
	found("found", i.Found)
	found("assumed", i.Assumed)
	for n, w := range i.Warnings {
		add("warning", fmt.Sprint(n), w)
	}
	return rows
}
