package ptdump

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/space"
	"ptemu/internal/ptdump/usage"
	"ptemu/internal/ptdump/where"
	"ptemu/linux"
)

// options are the command line's flags, as given.
type options struct {
	stdout, stderr io.Writer

	// The capture.
	input    string
	rawBase  string
	maxRatio int64
	// The machine and its kernel.
	cr3, root     string
	pid           string
	cpu, levels   int
	kernel        string
	devicePrivate string
	physBits      uint8
	l1tf          uint8
	encMask       string
	// What to walk.
	ranges, regions  []string
	user, kernelHalf bool
	kinds            []string
	where            string
	// The output.
	format, color, out string
	// Of one command only.
	jobs  int
	style string // dump
	pkru  string // translate
	ac    bool
	ps    psOptions
	maps  mapsOptions
	who   whoOptions
	audit auditFlags

	find      session.ProcessFinder // nil: that of package proc
	unpackBar bool                  // no other bar follows that of unpacking
}

// Values of flags, in the order in which completion offers them.
var (
	inputNames  = []string{"auto", "elf", "kdump", "lime", "raw"}
	autoOnOff   = []string{"auto", "on", "off"}
	colorNames  = []string{"auto", "always", "never"}
	styleNames  = []string{"ranges", "kernel"}
	formatNames = []string{"text", "json", "jsonl", "csv"}
)

func kernelNames() []string {
	names := []string{"auto"}
	for _, k := range x86.Kernels() {
		names = append(names, k.Release)
	}
	return names
}

func kindNames() []string {
	var names []string
	for _, k := range where.Kinds {
		names = append(names, string(k))
	}
	return names
}

// addOutput adds the flags about the output, which every command has.
func (o *options) addOutput(cmd *cobra.Command, formats []string) {
	cmd.Flags().SortFlags = false
	cmd.ValidArgsFunction = completeCaptures(1)
	format := new(string) // the default is not the same for all commands
	choice(cmd, format, "format", "f", formats, "output `FORMAT`")
	cmd.PreRun = func(*cobra.Command, []string) { o.format = *format }
	cmd.Flags().StringVarP(&o.out, "output", "o", "", "write to `FILE`, which appears only when it is whole")
	choice(cmd, &o.color, "color", "", colorNames, "colour the text `WHEN`; auto: on a terminal, unless NO_COLOR is set")
}

// addMachine adds the flags about the capture and the machine in it, which every command has.
func (o *options) addMachine(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.cr3, "cr3", "", "start at this physical `ADDR`, or CR3 value")
	f.IntVar(&o.cpu, "cpu", 0, "use the registers of CPU `N` (default: the first that has page tables)")
	choice(cmd, &o.root, "root", "", session.RootNames,
		"which `TREE`: CR3's own, the kernel's swapper_pg_dir, or with PTI one of the pair")
	f.IntVar(&o.levels, "levels", 0, "paging levels `N`, 4 or 5 (default: what the capture says)")
	f.StringVar(&o.kernel, "kernel", "auto", "read entries as this `RELEASE` writes them: 6.18, or as uname -r prints it")
	complete(cmd, "kernel", kernelNames())
	addSwitch(cmd, &o.devicePrivate, "device-private",
		"whether the kernel has CONFIG_DEVICE_PRIVATE, which moves swap type numbers")
	f.Uint8Var(&o.physBits, "phys-bits", 0, "physical address width of the CPU, `N` bits (default: 52 if the capture does not say)")
	f.Uint8Var(&o.l1tf, "l1tf", 0, "the CPU has the L1 terminal fault and `CACHEBITS` cache address bits, 36 to 52; "+
		"0: not affected")
	f.StringVar(&o.encMask, "enc-mask", "", "memory encryption bit as a hex `MASK` (default: what the capture says)")
	choice(cmd, &o.input, "input", "", inputNames, "`FORMAT` of the capture; raw is never guessed")
	f.StringVar(&o.rawBase, "raw-base", "", "physical `ADDR` of the first byte of a raw file (default 0)")
	f.Int64Var(&o.maxRatio, "max-unpack-ratio", 0,
		"give up when a .gz or .zst, which is unpacked into the temporary folder (TMPDIR) as far as needed, "+
			"grows more than `N`-fold; -1: never (default 1000)")
	complete(cmd, "levels", []string{"4", "5"})
	cmd.SetUsageTemplate(strings.ReplaceAll(cmd.UsageTemplate(), "FlagUsages", "FlagUsagesWrapped 110"))
}

// addPID adds the flag that chooses a process.
func (o *options) addPID(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.pid, "pid", "", "the tables of the process with this `PID`, or name if only one has it (see ptdump ps)")
	completeFunc(cmd, "pid", completePIDs)
}

// addJobs adds the flag of commands that walk several trees at a time.
func (o *options) addJobs(cmd *cobra.Command) {
	cmd.Flags().IntVar(&o.jobs, "jobs", 0, "walk `N` address spaces at a time (default: as many as there are CPUs); the output is the same")
}

// addWalk adds the flags that limit a walk.
func (o *options) addWalk(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&o.user, "user", false, "only the user half")
	f.BoolVar(&o.kernelHalf, "kernel-half", false, "only the kernel half")
	f.StringArrayVar(&o.ranges, "range", nil,
		"only the addresses `A-B`, B excluded, A+SIZE, or the page of A (hex, or a symbol; SIZE also as 2M); may be repeated")
	f.StringArrayVar(&o.regions, "region", nil, "only the region of this `NAME`, as vmalloc or kernel-text; may be repeated")
	complete(cmd, "region", regionNames())
	f.StringSliceVar(&o.kinds, "kind", nil, "only entries of this `KIND`, as swap; several with commas")
	f.StringVar(&o.where, "where", "", "only entries for which `EXPR` is true, as 'w && x' (see ptdump help where)")
	complete(cmd, "kind", kindNames())
	completeFunc(cmd, "where", completeWhere)
}

func (o *options) machine(flags *pflag.FlagSet) (*session.Options, error) {
	m := &session.Options{CPU: -1, Levels: o.levels, Root: o.root, PhysBits: o.physBits, L1TF: o.l1tf, Find: o.find}
	m.Capture.MaxUnpackRatio = o.maxRatio
	if o.input != "auto" {
		m.Capture.Format = capture.Format(o.input)
	}
	if flags.Changed("cpu") {
		m.CPU = o.cpu
	}
	var err error
	if m.Process, err = o.process(flags); err != nil {
		return nil, err
	}
	base, err := optionalHex("--raw-base", o.rawBase)
	switch {
	case err != nil:
		return nil, err
	case base != nil && o.input != "raw":
		return nil, usage.Errorf("--raw-base goes with --input raw only")
	case base != nil:
		m.Capture.RawBase = x86.Phys(*base)
	}
	if m.CR3, err = optionalHex("--cr3", o.cr3); err != nil {
		return nil, err
	}
	if m.EncMask, err = optionalHex("--enc-mask", o.encMask); err != nil {
		return nil, err
	}
	if m.EncMask != nil {
		p := x86.DefaultPaging(4)
		p.EncMask = *m.EncMask
		if err := p.Validate(); err != nil {
			_, want, _ := strings.Cut(err.Error(), "want ")
			return nil, usage.Errorf("--enc-mask %#x: want %s", *m.EncMask, want)
		}
	}
	switch {
	case o.jobs < 0:
		return nil, usage.Errorf("--jobs %d: want 1 or more, or 0 for one for each CPU", o.jobs)
	case m.Process != nil && (m.CR3 != nil || o.root == "swapper"):
		return nil, usage.Errorf("--pid names a process, --cr3 and --root swapper another tree: give one of them")
	case flags.Changed("cpu") && o.cpu < 0:
		return nil, usage.Errorf("--cpu %d: CPUs are counted from 0", o.cpu)
	case flags.Changed("levels") && o.levels != 4 && o.levels != 5:
		return nil, usage.Errorf("--levels %d: want 4 or 5", o.levels)
	case flags.Changed("phys-bits") && (o.physBits < 32 || o.physBits > 52):
		return nil, usage.Errorf("--phys-bits %d: want 32 to 52", o.physBits)
	case o.l1tf != 0 && (o.l1tf < 36 || o.l1tf > 52):
		return nil, usage.Errorf("--l1tf %d: want 36 to 52, or 0", o.l1tf)
	case m.CR3 != nil && o.root == "swapper":
		return nil, usage.Errorf("--cr3 and --root swapper contradict each other")
	}
	if o.kernel != "auto" {
		if !linux.IsRelease(o.kernel) {
			return nil, usage.Errorf("--kernel %q: want auto or a release, as 6.18 or 6.12.107+deb13-amd64", o.kernel)
		}
		m.Kernel = o.kernel
	}
	if o.devicePrivate != "auto" {
		on := o.devicePrivate == "on"
		m.DevicePrivate = &on
	}
	return m, nil
}

// process is the process that --pid names, nil if it is not given.
func (o *options) process(flags *pflag.FlagSet) (*space.Name, error) {
	if !flags.Changed("pid") || flags.Lookup("pid").Value.Type() != "string" { // others are lists of numbers
		return nil, nil
	}
	name, err := space.ParseName(o.pid)
	if err != nil {
		return nil, &usage.Error{Err: fmt.Errorf("--pid: %w", err)}
	}
	return &name, nil
}

func optionalHex(what, s string) (*uint64, error) {
	if s == "" {
		return nil, nil
	}
	v, err := usage.Hex(what, s)
	return &v, err
}
