package linux

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/physmem"
)

// ErrOptions is in the chain of errors about [Options].
var ErrOptions = errors.New("bad option")

// ErrKnown is in the chain of errors about [Options.Known]: the capture that it was kept with is damaged.
var ErrKnown = errors.New("bad knowledge")

// Options overrule what [Detect] would find. The zero value overrules nothing.
type Options struct {
	// Kernel is the release whose entries these are taken for ("6.1", "6.12.107+deb13-amd64"), known or between
	// known ones, or "" or "auto".
	Kernel string
	// DevicePrivate sets CONFIG_DEVICE_PRIVATE.
	DevicePrivate *bool
	// CR3 is the root to use in place of those of the CPUs.
	CR3 *uint64
	// Levels is 4 or 5, 0 to find out.
	Levels int
	// PhysBits is the processor's physical address width, 0 if not known.
	PhysBits uint8
	// EncMask is AMD's encryption bit as it stands in entries, in place of what VMCOREINFO says.
	EncMask *uint64
	// L1TFCacheBits is x86_cache_bits of a processor with the L1 terminal fault, 0 for one without.
	L1TFCacheBits uint8
	// Known is what was known of the kernel when this capture was taken out of another, nil if it was not. What the
	// capture itself says goes before.
	Known *Known
	// MaxScanFrames bounds the search of RAM where nothing names a root: 0 for [DefaultScanFrames].
	MaxScanFrames uint64
}

// Finding is one thing that a capture says, or that was assumed of it.
type Finding struct{ What, Value, Why string }

// CPURoots is where one processor's tables start.
type CPURoots struct {
	CPU int
	CR3 uint64
	Roots
	// Err says why there are none.
	Err error
	// Paging says that the processor uses tables of this capture's kind, so that its registers hold, whatever Err says.
	Paging bool
}

// System is what is known of the kernel in a capture.
type System struct {
	// Release is the kernel's release as uname -r prints it, "" if not known.
	Release string
	// VMCoreInfo is nil if the capture has none.
	VMCoreInfo *VMCoreInfo
	// ABI combines the kernel's features with the machine's paging.
	ABI *x86.ABI
	// KASLROffset is how far the image is from its link address. It holds if HasKASLROffset.
	KASLROffset    uint64
	HasKASLROffset bool
	// PhysBase is the kernel's phys_base, which image addresses less startKernelMap are added to. It holds if
	// HasPhysBase.
	PhysBase    x86.Phys
	HasPhysBase bool
	// InitMM is the root of init_mm (swapper_pg_dir), nil if not found. With PTI, its user copy is the template of
	// all others.
	InitMM *Roots
	// CPUs has one element for every processor that the capture describes.
	CPUs []CPURoots
	// Chosen is the root of [Options.CR3].
	Chosen *Roots
	// Layout is the map of the kernel half; never nil.
	Layout *Layout

	// Facts are what the capture says, Assumptions what it does not and was decided anyway, Warnings what does not
	// fit together.
	Facts, Assumptions []Finding
	Warnings           []string

	kernelDump KernelDump
}

func (s *System) fact(what, value, why string) {
	s.Facts = append(s.Facts, Finding{what, value, why})
}

func (s *System) assume(what, value, why string) {
	s.Assumptions = append(s.Assumptions, Finding{what, value, why})
}

func (s *System) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// Root returns the roots that a dump starts from: those of processor cpu, or, with cpu negative, the chosen ones,
// those of the first processor that has any, or init_mm's, whichever there is. The error is [ErrNoRoot] if there is
// none at all.
func (s *System) Root(cpu int) (Roots, error) {
	if cpu >= 0 {
		if cpu >= len(s.CPUs) {
			return Roots{}, fmt.Errorf("the capture describes %d CPUs, there is no number %d", len(s.CPUs), cpu)
		}
		return s.CPUs[cpu].Roots, s.CPUs[cpu].Err
	}
	if s.Chosen != nil {
		return *s.Chosen, nil
	}
	for _, c := range s.CPUs {
		if c.Err == nil {
			return c.Roots, nil
		}
	}
	if s.InitMM != nil {
		return *s.InitMM, nil
	}
	return Roots{}, ErrNoRoot
}

// Markers returns the regions of the address space; see [Layout.Markers].
func (s *System) Markers() []Marker { return s.Layout.Markers() }

// Detect finds out what kernel a capture is of. vmcoreinfo is the content of its VMCOREINFO note, nil without one;
// cpus is what its notes say of the processors.
//
// Only [Options] that make no sense, and a root that they name and the capture lacks, are errors. All else that is
// missing or damaged is left out, with a warning.
func Detect(mem physmem.Reader, vmcoreinfo []byte, cpus []CPU, opts Options) (*System, error) {
	d := &detector{System: &System{}, mem: mem, cpus: cpus, opts: opts}
	if err := d.checkOptions(); err != nil {
		return nil, err
	}
	d.parseInfo(vmcoreinfo, "note")
	if d.VMCoreInfo == nil && opts.CR3 == nil && !d.anyCPU() && (opts.Known == nil || opts.Known.InitMM == nil) {
		d.scan()
	}
	if err := d.machine(); err != nil {
		return nil, err
	}
	if err := d.findRoots(); err != nil {
		return nil, err
	}
	d.findLayout()
	return d.System, d.findKernel()
}

// detector is a System in the making.
type detector struct {
	*System
	mem    physmem.Reader
	cpus   []CPU
	opts   Options
	found  *ScanResult // nil if RAM was not searched
	paging x86.Paging
	walk   *x86.ABI // good for walking: its kernel does not matter
	image  imageText
}

func (d *detector) checkOptions() error {
	if n := d.opts.Levels; n != 0 && n != 4 && n != 5 {
		return fmt.Errorf("%w: %d levels: want 4 or 5", ErrOptions, n)
	}
	if b := d.opts.PhysBits; b != 0 && (b < 32 || b > 52) {
		return fmt.Errorf("%w: %d physical address bits: want 32 to 52", ErrOptions, b)
	}
	if m := d.opts.EncMask; m != nil {
		p := x86.DefaultPaging(4)
		p.EncMask = *m
		if err := p.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	if b := d.opts.L1TFCacheBits; b != 0 && (b < 36 || b > 52) {
		return fmt.Errorf("%w: %d cache bits: want 36 to 52", ErrOptions, b)
	}
	if err := d.opts.Known.check(); err != nil {
		return fmt.Errorf("%w: %w", ErrKnown, err)
	}
	if d.forcedKernel() {
		if !IsRelease(d.opts.Kernel) {
			return fmt.Errorf("%w: kernel %q: want a release, as 6.18 or 6.12.107+deb13-amd64", ErrOptions, d.opts.Kernel)
		}
	}
	return nil
}

func (d *detector) forcedKernel() bool { return d.opts.Kernel != "" && d.opts.Kernel != "auto" }

func (d *detector) parseInfo(b []byte, from string) {
	if len(b) == 0 {
		return
	}
	v, err := ParseVMCoreInfo(b)
	if err != nil {
		d.warn("the VMCOREINFO %s is left out: %v", from, err)
		return
	}
	if v.Cut() != "" {
		d.warn("the VMCOREINFO %s ends in the middle of the line %.60q, which is left out", from, v.Cut())
	}
	d.VMCoreInfo = v
	d.Release = v.OSRelease()
	if d.Release == "" {
		d.warn("the VMCOREINFO %s lacks OSRELEASE", from)
	} else {
		d.fact("release", d.Release, "VMCOREINFO OSRELEASE")
	}
}

// anyCPU reports whether some processor has a root to start from.
func (d *detector) anyCPU() bool {
	for _, c := range d.cpus {
		if c.paging() == nil {
			return true
		}
	}
	return false
}

// scan searches RAM for what the notes lack.
func (d *detector) scan() {
	r := Scan(d.mem, d.opts.Levels, true, d.opts.MaxScanFrames)
	d.found = r
	how := "all of RAM"
	if !r.Complete {
		how = fmt.Sprintf("the first %d frames of RAM", r.Frames)
	}
	if r.VMCoreInfo != nil {
		d.fact("VMCOREINFO", r.InfoPhys.String(), "no note; found by searching RAM")
		d.parseInfo(r.VMCoreInfo, "text in RAM")
	}
	if len(r.Roots) == 0 {
		d.warn("no note names a root table, and none was found in %s", how)
	}
}

// findKernel decides about the kernel's features, and completes the system.
func (d *detector) findKernel() error {
	root, err := d.layoutRoot()
	if err == nil {
		d.image = readImage(d.mem, d.walk, root, d.Layout)
		if d.Release == "" && d.image.release != "" {
			d.Release = d.image.release
			d.fact("release", d.Release, "banner in the kernel image")
		}
	}
	if kept := d.opts.Known; d.Release == "" && kept != nil && kept.Release != "" {
		d.Release = kept.Release
		d.fact("release", d.Release, keptWhy)
	}
	k := d.kernel()
	k.DevicePrivate = d.devicePrivate()
	d.memoryFailure()
	if d.ABI, err = x86.NewABI(k, d.shadowStack(k)); err != nil {
		return err
	}
	var dump *KernelDump
	if d.opts.Known != nil {
		dump = d.opts.Known.Dump
	}
	d.decideKernelDump(d.image.config, d.cpus, dump)
	return nil
}

func (d *detector) kernel() x86.Kernel {
	if d.forcedKernel() {
		k, why, known := featuresOfRelease(d.opts.Kernel) // checked before
		if known {
			d.fact("kernel", k.Release, "as asked; "+why)
		} else {
			d.assume("kernel", k.Release, "as asked; "+why+mayBeWrong)
		}
		if own, _, known := featuresOfRelease(d.Release); known && own.Release != k.Release {
			d.warn("entries are read as those of %s, as asked, but the capture is of %s", k.Release, d.Release)
		}
		return k
	}
	release, kept := d.Release, ""
	if _, ok := parseVersion(release); !ok && d.opts.Known != nil {
		if _, ok := parseVersion(d.opts.Known.Kernel); ok {
			release, kept = d.opts.Known.Kernel, keptWhy+": "
		}
	}
	if _, ok := parseVersion(release); !ok {
		all := x86.Kernels()
		k := all[len(all)-1]
		why := "the capture names no release; this is the newest known"
		if d.Release != "" {
			why = fmt.Sprintf("release %.40q has no version number; this is the newest known", d.Release)
		}
		d.assume("kernel", k.Release, why)
		return k
	}
	k, why, known := featuresOfRelease(release)
	if known {
		d.fact("kernel", k.Release, kept+why)
	} else {
		d.assume("kernel", k.Release, kept+why+mayBeWrong)
	}
	return k
}

// IsRelease reports whether s begins with the version number that decides how entries are read.
func IsRelease(s string) bool {
	_, ok := parseVersion(s)
	return ok
}

// mayBeWrong ends the reason of an assumption about a kernel that was not looked into.
const mayBeWrong = ": entries may be read wrongly"

// featuresOfRelease is features of a release as uname -r prints it, with what its vendor moved. known is false without
// a version number.
func featuresOfRelease(release string) (k x86.Kernel, why string, known bool) {
	v, ok := parseVersion(release)
	if !ok {
		return k, "", false
	}
	k, why, known = features(v)
	if moved := vendor(release, &k); moved != "" {
		why, known = why+"; "+moved, false
	}
	return k, why, known
}

func (d *detector) devicePrivate() bool {
	const what = "CONFIG_DEVICE_PRIVATE"
	if d.opts.DevicePrivate != nil {
		d.fact(what, onOff(*d.opts.DevicePrivate), "as asked")
		return *d.opts.DevicePrivate
	}
	if kept := d.opts.Known; kept != nil {
		d.fact(what, onOff(kept.DevicePrivate), keptWhy)
		return kept.DevicePrivate
	}
	release := d.Release
	if release == "" && d.forcedKernel() {
		release = d.opts.Kernel
	}
	on, certain, why := devicePrivate(release, d.VMCoreInfo, d.image)
	if certain {
		d.fact(what, onOff(on), why)
	} else {
		d.assume(what, onOff(on), why)
	}
	return on
}

// memoryFailure tells of a kernel that has no hwpoison entries. Types are numbered so that the others stay the same.
func (d *detector) memoryFailure() {
	if d.VMCoreInfo == nil {
		return
	}
	if _, ok := d.VMCoreInfo.Number("PG_hwpoison"); !ok {
		d.fact("CONFIG_MEMORY_FAILURE", onOff(false), "VMCOREINFO lacks PG_hwpoison; what has the swap type of hwpoison would be on one more swap file")
	}
}
