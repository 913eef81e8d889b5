package ptdump

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/usage"
	"ptemu/linux"
	"ptemu/linux/kallsyms"
	"ptemu/physmem"
)

// places turns what the command line says of addresses into addresses: numbers, symbols of the kernel, regions. Without a
// capture, names give errNeedsCapture.
type places struct {
	in    *session.Session
	syms  *kallsyms.Symbols
	err   error // why there are no symbols
	tried bool
}

var errNeedsCapture = errors.New("a name that only a capture explains")

// symbolName is what a symbol looks like; what does not is a mistake, whatever the capture.
var symbolName = regexp.MustCompile(`^[A-Za-z_.$][A-Za-z0-9_.$]*$`)

// address reads ADDRESS, which is hex or a symbol, ADDRESS+OFFSET or ADDRESS-OFFSET. What can be hex is.
func (p *places) address(what, s string) (x86.Virt, error) {
	base, sign, off := s, byte('+'), uint64(0)
	if i := strings.LastIndexAny(s, "+-"); i > 0 {
		var err error
		if off, err = usage.Size(s[i+1:]); err != nil {
			return 0, usage.Errorf("%s %q: want an offset in hex, or as 2M, behind the %c", what, s, s[i])
		}
		base, sign = s[:i], s[i]
	}
	n, err := usage.Hex(what, base)
	if err != nil && symbolName.MatchString(base) {
		var va x86.Virt
		va, err = p.symbol(what, base)
		n = uint64(va)
	}
	switch {
	case err != nil:
		return 0, err
	case sign == '-' && off > n, sign == '+' && n+off < n:
		return 0, usage.Errorf("%s %q: lies outside of the address space", what, s)
	case sign == '-':
		return x86.Virt(n - off), nil
	}
	return x86.Virt(n + off), nil
}

func (p *places) symbol(what, name string) (x86.Virt, error) {
	if p.in == nil {
		return 0, errNeedsCapture
	}
	if !p.tried {
		p.tried = true
		p.syms, p.err = findSymbols(p.in)
	}
	if va, ok := p.in.System.VMCoreInfo.Symbol(name); ok && p.err != nil {
		return va, nil
	}
	if p.err != nil {
		return 0, usage.Errorf("%s %q: neither a hex number, nor are there symbols to look for it: %w", what, name, p.err)
	}
	va, ok := p.syms.Lookup(name)
	if !ok {
		return 0, usage.Errorf("%s %q: neither a hex number nor a symbol of this kernel", what, name)
	}
	return va, nil
}

// errTablesOnly is what is said of symbols in a capture without the kernel's memory.
var errTablesOnly = errors.New("the capture lacks the memory that holds them")

// findSymbols reads the kernel's symbols: where VMCOREINFO says, else where they are found in the kernel image.
func findSymbols(in *session.Session) (*kallsyms.Symbols, error) {
	mem, err := in.System.Memory(in.Mem)
	if err != nil {
		return nil, err
	}
	syms, err := kallsyms.Parse(mem, in.System.VMCoreInfo)
	if l := in.System.Layout; errors.Is(err, kallsyms.ErrNoTables) && l.TextFirst != 0 {
		stext, _ := in.System.VMCoreInfo.Symbol("_stext")
		syms, err = kallsyms.Search(mem, l.TextFirst, l.TextLast, stext)
	}
	if errors.Is(err, physmem.ErrAbsent) || errors.Is(err, physmem.ErrExcluded) {
		err = errTablesOnly
	}
	return syms, err
}

// region returns the ranges of the region of a name.
func (p *places) region(name string) ([]span, error) {
	if !slices.Contains(regionNames(), regionKey(name)) {
		return nil, usage.Errorf("--region %q: want %s", name, strings.Join(regionNames(), ", "))
	}
	if p.in == nil {
		return nil, errNeedsCapture
	}
	var out []span
	markers := p.in.System.Markers()
	for i, m := range markers {
		if regionKey(m.Name) != regionKey(name) {
			continue
		}
		s := span{m.Addr, lastVirt}
		if i+1 < len(markers) {
			s.last = markers[i+1].Addr - 1
		}
		out = append(out, s)
	}
	if out == nil {
		return nil, usage.Errorf("--region %q: this kernel has none", name)
	}
	return out, nil
}

// regionKey is a region's name as the command line has it: "kernel-text".
func regionKey(name string) string {
	return strings.NewReplacer(" ", "-", "_", "-").Replace(strings.ToLower(name))
}

// regionNames are the regions that --region chooses from.
func regionNames() []string {
	var names []string
	for r := linux.RegionUser; r <= linux.RegionVsyscall; r++ {
		names = append(names, regionKey(r.String()))
	}
	return names
}

// namesPlaces reports whether what to walk can be known only with a capture.
func namesPlaces(err error) bool { return errors.Is(err, errNeedsCapture) }

// checkAddresses reads addresses as far as it can be done without a capture.
func checkAddresses(args []string) error {
	for _, a := range args {
		if _, err := new(places).address("address", a); err != nil && !namesPlaces(err) {
			return err
		}
	}
	return nil
}
