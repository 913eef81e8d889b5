package ptdump

import (
	"cmp"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ptemu/arch/x86"
	"ptemu/capture"
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
	pid           int
	cpu, levels   int
	kernel        string
	devicePrivate string
	physBits      uint8
	l1tf          uint8
	encMask       string
	// What to walk.
	ranges           []string
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

	find processFinder // nil: that of package proc
}

// Values of flags, in the order in which completion offers them.
var (
	inputNames  = []string{"auto", "elf", "kdump", "lime", "raw"}
	rootNames   = []string{"cr3", "swapper", "pti-kernel", "pti-user"}
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
	for _, k := range whereKinds {
		names = append(names, string(k))
	}
	return names
}

// choice adds a flag that takes one of a few values, the first by default.
func choice(cmd *cobra.Command, p *string, name, short string, values []string, usage string) {
	*p = values[0]
	usage += " (" + strings.Join(values, ", ") + ")"
	cmd.Flags().VarP(&choiceValue{p, values, strings.ToUpper(name)}, name, short, usage)
	complete(cmd, name, values)
}

func complete(cmd *cobra.Command, flag string, values []string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // a flag that does not exist, or twice
	}
}

// choiceValue is a pflag.Value that refuses what is not among its values.
type choiceValue struct {
	p      *string
	values []string
	what   string
}

func (c *choiceValue) String() string {
	if c.p == nil {
		return ""
	}
	return *c.p
}

func (c *choiceValue) Type() string { return c.what }

// Set takes a value; names of figures are as good with a hyphen as with the underscore that they have in JSON.
func (c *choiceValue) Set(s string) error {
	for _, v := range c.values {
		if v == s || v == strings.ReplaceAll(s, "-", "_") {
			*c.p = v
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(c.values, ", "))
}

// addSwitch adds a flag that is auto, on or off; bare, it is on.
func addSwitch(cmd *cobra.Command, p *string, name, usage string) {
	*p = autoOnOff[0]
	f := cmd.Flags().VarPF(&switchValue{choiceValue{p, autoOnOff, "bool"}}, name, "",
		usage+" ("+strings.Join(autoOnOff, ", ")+", after = or a blank; on if bare)")
	f.NoOptDefVal = "on"
	complete(cmd, name, autoOnOff)
}

// switchWords are what can be said of a switch.
var switchWords = map[string]string{
	"auto": "auto", "on": "on", "y": "on", "yes": "on", "true": "on", "off": "off", "n": "off", "no": "off", "false": "off",
}

// switchValue is a choiceValue of autoOnOff that has other words for the same.
type switchValue struct{ choiceValue }

func (s *switchValue) Set(word string) error {
	if v, ok := switchWords[strings.ToLower(word)]; ok {
		word = v
	}
	return s.choiceValue.Set(word)
}

// joinDevicePrivate returns the arguments with "--device-private off" written as "--device-private=off": as the flag
// may stand alone, it takes a word after it only if that is one of its own. A file of such a name is "./off".
func joinDevicePrivate(args []string) []string {
	const flag = "--device-private"
	out := []string{} // not nil, for which cobra takes the arguments of this program
	for i := 0; i < len(args); i++ {
		if args[i] == "--" {
			return append(out, args[i:]...)
		}
		if args[i] == flag && i+1 < len(args) {
			if _, ok := switchWords[strings.ToLower(args[i+1])]; ok {
				out = append(out, flag+"="+args[i+1])
				i++
				continue
			}
		}
		out = append(out, args[i])
	}
	return out
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
	choice(cmd, &o.root, "root", "", rootNames,
		"which `TREE`: CR3's own, the kernel's swapper_pg_dir, or with PTI one of the pair")
	f.IntVar(&o.levels, "levels", 0, "paging levels `N`, 4 or 5 (default: what the capture says)")
	choice(cmd, &o.kernel, "kernel", "", kernelNames(), "read entries as this `RELEASE` writes them")
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
	cmd.Flags().IntVar(&o.pid, "pid", 0, "the tables of the process with this `PID` (see ptdump ps)")
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
		"only the addresses `A-B`, B excluded, or A+SIZE (hex; SIZE also as 2M); may be repeated")
	f.StringSliceVar(&o.kinds, "kind", nil, "only entries of this `KIND`, as swap; several with commas")
	f.StringVar(&o.where, "where", "", "only entries for which `EXPR` is true, as 'w && x' (see ptdump help where)")
	complete(cmd, "kind", kindNames())
}

// machine are the flags that say how to read the capture, checked.
type machine struct {
	open          capture.Options
	cr3           *uint64
	pid           *int
	find          processFinder // nil: that of package proc
	cpu           int           // -1: any
	levels        int           // 0: any
	root          string
	kernel        *x86.Kernel // nil: auto
	devicePrivate *bool       // nil: auto
	physBits      uint8       // 0: any
	l1tf          uint8       // 0: not affected
	encMask       *uint64
}

func (o *options) machine(flags *pflag.FlagSet) (*machine, error) {
	m := &machine{cpu: -1, levels: o.levels, root: o.root, physBits: o.physBits, l1tf: o.l1tf, find: o.find}
	m.open.MaxUnpackRatio = o.maxRatio
	if o.input != "auto" {
		m.open.Format = capture.Format(o.input)
	}
	if flags.Changed("cpu") {
		m.cpu = o.cpu
	}
	if flags.Changed("pid") {
		m.pid = &o.pid
	}
	base, err := optionalHex("--raw-base", o.rawBase)
	switch {
	case err != nil:
		return nil, err
	case base != nil && o.input != "raw":
		return nil, usagef("--raw-base goes with --input raw only")
	case base != nil:
		m.open.RawBase = x86.Phys(*base)
	}
	if m.cr3, err = optionalHex("--cr3", o.cr3); err != nil {
		return nil, err
	}
	if m.encMask, err = optionalHex("--enc-mask", o.encMask); err != nil {
		return nil, err
	}
	switch {
	case o.jobs < 0:
		return nil, usagef("--jobs %d: want 1 or more, or 0 for one for each CPU", o.jobs)
	case m.pid != nil && (m.cr3 != nil || o.root == "swapper"):
		return nil, usagef("--pid names a process, --cr3 and --root swapper another tree: give one of them")
	case flags.Changed("cpu") && o.cpu < 0:
		return nil, usagef("--cpu %d: CPUs are counted from 0", o.cpu)
	case flags.Changed("levels") && o.levels != 4 && o.levels != 5:
		return nil, usagef("--levels %d: want 4 or 5", o.levels)
	case flags.Changed("phys-bits") && (o.physBits < 32 || o.physBits > 52):
		return nil, usagef("--phys-bits %d: want 32 to 52", o.physBits)
	case o.l1tf != 0 && (o.l1tf < 36 || o.l1tf > 52):
		return nil, usagef("--l1tf %d: want 36 to 52, or 0", o.l1tf)
	case m.encMask != nil && bits.OnesCount64(*m.encMask) > 1:
		return nil, usagef("--enc-mask %#x: want a single bit", *m.encMask)
	case m.cr3 != nil && o.root == "swapper":
		return nil, usagef("--cr3 and --root swapper contradict each other")
	}
	if o.kernel != "auto" {
		k, err := x86.KernelNamed(o.kernel)
		if err != nil {
			return nil, &usageError{err: err}
		}
		m.kernel = &k
	}
	if o.devicePrivate != "auto" {
		on := o.devicePrivate == "on"
		m.devicePrivate = &on
	}
	return m, nil
}

func parseHex(what, s string) (uint64, error) {
	digits := strings.ReplaceAll(strings.ToLower(s), "_", "")
	v, err := strconv.ParseUint(strings.TrimPrefix(digits, "0x"), 16, 64)
	if err != nil {
		return 0, usagef("%s %q: want a hex number of at most 64 bits", what, s)
	}
	return v, nil
}

func optionalHex(what, s string) (*uint64, error) {
	if s == "" {
		return nil, nil
	}
	v, err := parseHex(what, s)
	return &v, err
}

// span is a range of virtual addresses, both ends included.
type span struct{ first, last x86.Virt }

const (
	lastVirt             = ^x86.Virt(0)
	lastUser             = lastVirt / 2
	firstKernel x86.Virt = lastUser + 1
)

// spans returns what to walk, ascending and disjoint.
func (o *options) spans() ([]span, error) {
	half := span{0, lastVirt}
	switch {
	case o.user && o.kernelHalf:
		return nil, usagef("--user and --kernel-half together leave nothing out: give one or none")
	case o.user:
		half.last = lastUser
	case o.kernelHalf:
		half.first = firstKernel
	}
	if len(o.ranges) == 0 {
		return []span{half}, nil
	}
	var spans []span
	for _, r := range o.ranges {
		s, err := parseSpan(r)
		if err != nil {
			return nil, err
		}
		s.first, s.last = max(s.first, half.first), min(s.last, half.last)
		if s.first <= s.last {
			spans = append(spans, s)
		}
	}
	if len(spans) == 0 {
		return nil, usagef("no --range lies in the half that is asked for")
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	merged := spans[:1]
	for _, s := range spans[1:] {
		if last := &merged[len(merged)-1]; s.first <= last.last || s.first == last.last+1 {
			last.last = max(last.last, s.last)
		} else {
			merged = append(merged, s)
		}
	}
	return merged, nil
}

// parseSpan parses "A-B" (B excluded, may be missing for the end of the address space) and "A+SIZE".
func parseSpan(s string) (span, error) {
	i := strings.IndexAny(s, "-+")
	if i < 0 {
		return span{}, usagef("--range %q: want A-B or A+SIZE", s)
	}
	first, err := parseHex("--range", s[:i])
	if err != nil {
		return span{}, err
	}
	rest := s[i+1:]
	if s[i] == '+' {
		size, err := parseSize(rest)
		switch {
		case err != nil:
			return span{}, err
		case size == 0:
			return span{}, usagef("--range %q: is empty", s)
		case first+(size-1) < first:
			return span{}, usagef("--range %q: goes beyond the end of the address space", s)
		}
		return span{x86.Virt(first), x86.Virt(first + (size - 1))}, nil
	}
	if rest == "" {
		return span{x86.Virt(first), lastVirt}, nil
	}
	end, err := parseHex("--range", rest)
	switch {
	case err != nil:
		return span{}, err
	case end <= first:
		return span{}, usagef("--range %q: ends where it starts, or before", s)
	}
	return span{x86.Virt(first), x86.Virt(end - 1)}, nil
}

// parseSize reads the size of a range: hex like the addresses, or a decimal number with the suffix K, M, G or T.
func parseSize(s string) (uint64, error) {
	if s != "" && strings.IndexByte("kmgt", s[len(s)-1]|0x20) >= 0 {
		n, err := parseNumber(s)
		if err != nil {
			return 0, usagef("--range size: %v", err)
		}
		return n, nil
	}
	return parseHex("--range size", s)
}

// matcher combines --kind and --where into one question, nil if neither is given; readsVA as in [Filter].
func (o *options) matcher() (match func(*x86.ABI) func(*Leaf) bool, readsVA bool, err error) {
	kinds := map[Kind]bool{}
	for _, k := range o.kinds {
		if !slices.Contains(kindNames(), k) {
			return nil, false, usagef("--kind %q: want %s", k, strings.Join(kindNames(), ", "))
		}
		kinds[Kind(k)] = true
	}
	var where *Where
	if o.where != "" {
		if where, err = ParseWhere(o.where); err != nil {
			return nil, false, &usageError{err: err}
		}
		readsVA = where.ReadsVA()
	}
	if where == nil && len(kinds) == 0 {
		return func(*x86.ABI) func(*Leaf) bool { return nil }, false, nil
	}
	return func(abi *x86.ABI) func(*Leaf) bool {
		if where == nil {
			return func(l *Leaf) bool { return kinds[l.Kind] }
		}
		match := where.Compile(abi)
		if len(kinds) == 0 {
			return match
		}
		return func(l *Leaf) bool { return kinds[l.Kind] && match(l) }
	}, readsVA, nil
}
