package ptdump

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ptemu/internal/ptdump/session"
	"ptemu/linux"
)

// info is what ptdump info prints; its JSON form is stable. Addresses are hex strings.
type info struct {
	Path   string      `json:"path"`
	Format string      `json:"format"`
	Size   int64       `json:"size"` // of the file
	Memory uint64      `json:"memory"`
	Ranges []infoRange `json:"ranges"`
	// MoreRanges is how many are not among the ranges, of a file that says more than maxInfoRanges.
	MoreRanges int       `json:"more_ranges,omitempty"`
	CPUs       []infoCPU `json:"cpus"`
	Release    string    `json:"release,omitempty"`
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

	// unusable is why the root table that the capture names cannot be used, "" if it can or if there is none.
	unusable string
}

// maxInfoRanges bounds the ranges of memory that are listed: each takes far more to print than to know.
const maxInfoRanges = 1 << 16

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

func makeInfo(o *session.Session, rootErr error) *info {
	c, s := o.Capture, o.System
	i := &info{
		Path: c.Path, Format: c.Format, Size: c.Size, Ranges: []infoRange{}, CPUs: []infoCPU{}, Regions: []infoRegion{},
		Release: s.Release, Profile: s.ABI.Kernel().Release, DevicePrivate: s.ABI.Kernel().DevicePrivate,
		Levels: s.ABI.Paging().Levels, PhysBits: s.ABI.Paging().PhysBits,
		Found: findings(s.Facts), Assumed: findings(s.Assumptions),
		Warnings: append(append([]string{}, c.Remarks...), s.Warnings...),
	}
	for n, r := range c.Mem.Ranges() {
		i.Memory += r.Len()
		if n >= maxInfoRanges {
			i.MoreRanges++
			continue
		}
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
	switch {
	case rootErr == nil:
		i.Root = &infoRoot{o.Root.String(), o.RootWhy}
	case !errors.Is(rootErr, linux.ErrNoRoot):
		i.unusable = rootErr.Error()
		said := func(w string) bool { return strings.Contains(w, strings.TrimPrefix(i.unusable, c.Path+": ")) }
		if !slices.ContainsFunc(i.Warnings, said) {
			i.Warnings = append(i.Warnings, i.unusable)
		}
	}
	if o.NoUser != "" {
		i.Warnings = append(i.Warnings, "no user half: "+o.NoUser)
	}
	for _, m := range s.Markers() {
		i.Regions = append(i.Regions, infoRegion{m.Addr.String(), m.Name})
	}
	return i
}

func makeInfoCPU(o *session.Session, n int) infoCPU {
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
	return &infoRoots{r.Kernel.String(), r.User.String(), r.PTI || r.UserMissing, r.Why}
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
