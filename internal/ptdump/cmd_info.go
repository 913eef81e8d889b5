package ptdump

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ptemu/linux"
)

const infoLong = `Print what is in a capture: its format, memory and processors; which kernel and which root tables were found in it and
how; and what had to be assumed because the capture does not tell. Flags overrule what is found.

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
	in, err := openSession(cmd.Context(), path, m)
	if in != nil {
		defer in.Close()
	}
	if err != nil && (in == nil || !errors.Is(err, linux.ErrNoRoot)) {
		return err
	}
	out, openErr := openOut(o.out, o.stdout, path)
	if openErr != nil {
		return openErr
	}
	defer out.drop()
	colors, openErr := newPalette(o.color, out.Writer)
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
	return out.keep()
}

// in returns the info in one of the formats.
func (i *info) in(format string, c palette) ([]byte, error) {
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

// info is what ptdump info prints; its JSON form is stable. Addresses are hex strings.
type info struct {
	Path    string      `json:"path"`
	Format  string      `json:"format"`
	Size    int64       `json:"size"` // of the file
	Memory  uint64      `json:"memory"`
	Ranges  []infoRange `json:"ranges"`
	CPUs    []infoCPU   `json:"cpus"`
	Release string      `json:"release,omitempty"`
	// Profile is the kernel whose entries these are taken for.
	Profile       string        `json:"profile"`
	DevicePrivate bool          `json:"device_private"`
	Levels        int           `json:"levels"`
	PhysBits      uint8         `json:"phys_bits"`
	KASLROffset   string        `json:"kaslr_offset,omitempty"`
	PhysBase      string        `json:"phys_base,omitempty"`
	InitMM        *infoRoots    `json:"init_mm,omitempty"`
	Root          *infoRoot     `json:"root,omitempty"`
	Regions       []infoRegion  `json:"regions"`
	Found         []infoFinding `json:"found"`
	Assumed       []infoFinding `json:"assumed"`
	Warnings      []string      `json:"warnings"`
}

type infoRange struct {
	Start string `json:"start"`
	End   string `json:"end"`
	Size  uint64 `json:"size"`
}

type infoCPU struct {
	CPU      int        `json:"cpu"`
	CR0      string     `json:"cr0"`
	CR0Bits  []string   `json:"cr0_bits"`
	CR3      string     `json:"cr3"`
	CR4      string     `json:"cr4"`
	CR4Bits  []string   `json:"cr4_bits"`
	EFER     string     `json:"efer,omitempty"`
	EFERBits []string   `json:"efer_bits,omitempty"`
	Mode     string     `json:"mode"` // user or kernel
	RIP      string     `json:"rip"`
	Roots    *infoRoots `json:"roots,omitempty"`
	Error    string     `json:"error,omitempty"`

	cr0, cr4, efer uint64
}

type infoRoots struct {
	Kernel string `json:"kernel"`
	User   string `json:"user"`
	PTI    bool   `json:"pti"`
	Why    string `json:"why"`
}

type infoRoot struct {
	Addr string `json:"addr"`
	Why  string `json:"why"`
}

type infoRegion struct {
	Addr string `json:"va"`
	Name string `json:"name"`
}

type infoFinding struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Why   string `json:"why"`
}

func makeInfo(o *opened, rootErr error) *info {
	c, s := o.Capture, o.System
	i := &info{
		Path: c.Path, Format: c.Format, Size: c.Size, Ranges: []infoRange{}, CPUs: []infoCPU{}, Regions: []infoRegion{},
		Release: s.Release, Profile: s.ABI.Kernel().Release, DevicePrivate: s.ABI.Kernel().DevicePrivate,
		Levels: s.ABI.Paging().Levels, PhysBits: s.ABI.Paging().PhysBits,
		Found: findings(s.Facts), Assumed: findings(s.Assumptions),
		Warnings: append(append([]string{}, c.Remarks...), s.Warnings...),
	}
	for _, r := range c.Mem.Ranges() {
		i.Memory += r.Len()
		i.Ranges = append(i.Ranges, infoRange{r.Start.String(), r.End.String(), r.Len()})
	}
	for n := range c.CPUs {
		i.CPUs = append(i.CPUs, makeInfoCPU(o, n))
	}
	if s.HasKASLROffset {
		i.KASLROffset = hex(s.KASLROffset)
	}
	if s.HasPhysBase {
		i.PhysBase = signedHex(int64(s.PhysBase))
	}
	if s.InitMM != nil {
		i.InitMM = makeInfoRoots(*s.InitMM)
	}
	if rootErr == nil {
		i.Root = &infoRoot{o.Root.String(), o.RootWhy}
	}
	for _, m := range s.Markers() {
		i.Regions = append(i.Regions, infoRegion{m.Addr.String(), m.Name})
	}
	return i
}

func makeInfoCPU(o *opened, n int) infoCPU {
	c := o.Capture.CPUs[n]
	cpu := infoCPU{
		CPU: n, CR0: hex(c.CR0), CR0Bits: bitNames(c.CR0, cr0Names), CR3: hex(c.CR3),
		CR4: hex(c.CR4), CR4Bits: bitNames(c.CR4, cr4Names), Mode: "kernel", RIP: hex(c.RIP),
		cr0: c.CR0, cr4: c.CR4, efer: c.EFER,
	}
	if c.CPL() == 3 {
		cpu.Mode = "user"
	}
	if c.HasEFER {
		cpu.EFER, cpu.EFERBits = hex(c.EFER), bitNames(c.EFER, eferNames)
	}
	if r := o.System.CPUs[n]; r.Err != nil {
		cpu.Error = r.Err.Error()
	} else {
		cpu.Roots = makeInfoRoots(r.Roots)
	}
	return cpu
}

func makeInfoRoots(r linux.Roots) *infoRoots {
	return &infoRoots{r.Kernel.String(), r.User.String(), r.PTI, r.Why}
}

func findings(fs []linux.Finding) []infoFinding {
	out := []infoFinding{}
	for _, f := range fs {
		out = append(out, infoFinding(f))
	}
	return out
}

func hex(v uint64) string { return fmt.Sprintf("%#x", v) }

// signedHex writes an offset that may be negative, as phys_base is when the kernel was loaded low.
func signedHex(v int64) string {
	if v < 0 {
		return fmt.Sprintf("-%#x", uint64(-v))
	}
	return fmt.Sprintf("%#x", v)
}

// infoRanges is how many memory ranges the text shows.
const infoRanges = 16

func (i *info) text(c palette) []byte {
	var b bytes.Buffer
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", what, printable(fmt.Sprintf(format, args...)))
	}
	line("capture", "%s", i.Path)
	size := ""
	if i.Size >= 0 {
		size = fmt.Sprintf(", %d bytes", i.Size)
	}
	line("format", "%s%s", i.Format, size)
	line("memory", "%s in %s", appendSize(nil, i.Memory), plural(len(i.Ranges), "range"))
	for n, r := range i.Ranges {
		if n == infoRanges {
			line("", "... and %d more (--format json has all)", len(i.Ranges)-n)
			break
		}
		line("", "%s-%s %s", r.Start, r.End, appendSize(nil, r.Size))
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
	} else {
		line("root", "none known: give one with --cr3")
	}
	i.textCPUs(&b, c)
	section := func(title string, fs []infoFinding) {
		fmt.Fprintf(&b, "\n%s\n", c.paint(c.bold, title))
		if len(fs) == 0 {
			b.WriteString("  nothing\n")
		}
		w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, f := range fs {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", printable(f.What), printable(f.Value), printable(f.Why))
		}
		w.Flush()
	}
	section("found", i.Found)
	section("assumed", i.Assumed)
	if len(i.Warnings) > 0 {
		fmt.Fprintf(&b, "\n%s\n", c.paint(c.bold, "warnings"))
		for _, w := range i.Warnings {
			fmt.Fprintf(&b, "  %s\n", c.paint(c.warn, printable(w)))
		}
	}
	return b.Bytes()
}

func (i *info) textCPUs(b *bytes.Buffer, c palette) {
	for _, cpu := range i.CPUs {
		fmt.Fprintf(b, "\n%s\n", c.paint(c.bold, fmt.Sprintf("CPU %d", cpu.CPU)))
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
			fmt.Fprintf(b, "  %s\n", c.paint(c.warn, cpu.Error))
		}
	}
}

func (r *infoRoots) text() string {
	addr := r.Kernel
	if r.PTI {
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
