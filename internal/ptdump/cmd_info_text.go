package ptdump

import (
	"bytes"
	"fmt"
	"strings"
	"text/tabwriter"

	"ptemu/internal/ptdump/report"
)

// infoRanges is how many memory ranges the text shows.
const infoRanges = 16

func (i *info) text(c report.Palette) []byte {
	var b bytes.Buffer
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", what, report.Printable(fmt.Sprintf(format, args...)))
	}
	line("capture", "%s", i.Path)
	size := ""
	if i.Size >= 0 {
		size = fmt.Sprintf(", %d bytes", i.Size)
	}
	line("format", "%s%s", i.Format, size)
	line("memory", "%s in %s", report.AppendSize(nil, i.Memory), report.Plural(len(i.Ranges)+i.MoreRanges, "range"))
	for n, r := range i.Ranges {
		if n == infoRanges {
			json := "all"
			if i.MoreRanges > 0 {
				json = fmt.Sprint(len(i.Ranges))
			}
			line("", "... and %d more (--format json has %s)", len(i.Ranges)+i.MoreRanges-n, json)
			break
		}
		line("", "%s-%s %s", r.Start, r.End, report.AppendSize(nil, r.Size))
	}
	release := i.Release
	if release == "" {
		release = "unknown"
	}
	line("kernel", "%s, entries read as those of Linux %s, CONFIG_DEVICE_PRIVATE %s", release, i.Profile, onOff(i.DevicePrivate))
	line("paging", "%d levels, %d physical address bits", i.Levels, i.PhysBits)
	if i.KASLROffset != "" {
		line("KASLR offset", "%s", i.KASLROffset)
	}
	if i.PhysBase != "" {
		line("phys_base", "%s", i.PhysBase)
	}
	if i.InitMM != nil {
		line("init_mm", "%s", i.InitMM.text())
	}
	if i.Root != nil {
		line("root", "%s: %s", i.Root.Addr, i.Root.Why)
	} else if i.unusable != "" {
		line("root", "none that can be used: see the warnings")
	} else {
		line("root", "none known: give one with --cr3")
	}
	i.textCPUs(&b, c)
	section := func(title string, fs []infoFinding) {
		fmt.Fprintf(&b, "\n%s\n", c.Paint(c.Bold, title))
		if len(fs) == 0 {
			b.WriteString("  nothing\n")
		}
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, f := range fs {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", report.Printable(f.What), report.Printable(f.Value), report.Printable(f.Why))
		}
		w.Flush()
	}
	section("found", i.Found)
	section("assumed", i.Assumed)
	if len(i.Warnings) > 0 {
		fmt.Fprintf(&b, "\n%s\n", c.Paint(c.Bold, "warnings"))
		for _, w := range i.Warnings {
			fmt.Fprintf(&b, "  %s\n", c.Paint(c.Warn, report.Printable(w)))
		}
	}
	return b.Bytes()
}

func (i *info) textCPUs(b *bytes.Buffer, c report.Palette) {
	for _, cpu := range i.CPUs {
		fmt.Fprintf(b, "\n%s\n", c.Paint(c.Bold, fmt.Sprintf("CPU %d", cpu.CPU)))
		fmt.Fprintf(b, "  CR0   %s\n", registerText(cpu.cr0, cr0Names))
		fmt.Fprintf(b, "  CR3   %s\n", cpu.CR3)
		fmt.Fprintf(b, "  CR4   %s\n", registerText(cpu.cr4, cr4Names))
		if cpu.EFER != "" {
			fmt.Fprintf(b, "  EFER  %s\n", registerText(cpu.efer, eferNames))
		}
		fmt.Fprintf(b, "  RIP   %s, in %s mode\n", cpu.RIP, cpu.Mode)
		if cpu.Roots != nil {
			fmt.Fprintf(b, "  root  %s\n", cpu.Roots.text())
		} else {
			fmt.Fprintf(b, "  %s\n", c.Paint(c.Warn, cpu.Error))
		}
	}
}

func (r *infoRoots) text() string {
	addr := r.Kernel
	if r.PTI && r.User != r.Kernel {
		addr = fmt.Sprintf("kernel %s, user %s", r.Kernel, r.User)
	}
	return strings.TrimSuffix(addr+"; "+r.Why, "; ")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
