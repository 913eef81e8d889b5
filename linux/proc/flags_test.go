package proc

import (
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/linux/ktype"
)

// TestFlagsByRelease: what the bits mean that moved, in kernels whose types do not name them. The words are what guests of these
// releases printed in the line VmFlags of an area with such bits (conformance/README.md, "(kinds of) vma").
func TestFlagsByRelease(t *testing.T) {
	for _, c := range []struct {
		release string
		flags   uint64
		want    string
	}{
		{"5.10.0-46-amd64", 0x08000875, "rd ex mr mw me dw sd"},
		{"6.1.0-56-amd64", 0x08000875, "rd ex mr mw me ?? sd"}, // no such area: the bit is not used
		{"6.12.117+deb13-amd64", 1<<63 | 0x48100073, "rd wr mr mw me ac sd nh sl"},
		{"6.16.12+deb13-amd64", 1<<63 | 0x48100073, "rd wr mr mw me ac sd nh sl"},
		{"6.17.13+deb13-amd64", 1<<42 | 0x48100073, "rd wr mr mw me ac sd nh sl"},
		{"6.18.15+deb13-amd64", 1<<42 | 0x48100073, "rd wr mr mw me ac sd nh sl"},
		{"6.18.15+deb13-amd64", 1<<40 | 0x0e200073, "rd wr mr mw me nr wf dd sd dp"},
	} {
		f := &finder{out: &Processes{}, types: new(ktype.Types), sys: &linux.System{
			Release: c.release, ABI: x86.MustABI(x86.Linux7_2(), x86.DefaultPaging(4)),
		}}
		f.out.flags = f.flagSet()
		if got := strings.Join(f.out.FlagNames(c.flags), " "); got != c.want {
			t.Errorf("%s: %#x is %q, want %q", c.release, c.flags, got, c.want)
		}
		for _, a := range f.out.Assumptions {
			if strings.HasPrefix(a.What, "vm_flags ") {
				t.Errorf("%s: assumed %v", c.release, a)
			}
		}
	}
}
