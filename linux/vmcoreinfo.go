package linux

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// ErrVMCoreInfo is in the chain of every error about the VMCOREINFO text.
var ErrVMCoreInfo = errors.New("bad VMCOREINFO")

// VMCoreInfoError says which line of the VMCOREINFO text makes no sense, counted from 1; line 0 is the whole text.
type VMCoreInfoError struct {
	Line int
	Text string // the line, cut to a printable length
	Msg  string
}

// Error names the line and quotes it.
func (e *VMCoreInfoError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("VMCOREINFO: %s", e.Msg)
	}
	return fmt.Sprintf("VMCOREINFO line %d: %s: %q", e.Line, e.Msg, e.Text)
}

// Unwrap returns [ErrVMCoreInfo].
func (e *VMCoreInfoError) Unwrap() error { return ErrVMCoreInfo }

// maxVMCoreInfo is more than any kernel writes (one page) and as much as QEMU accepts for the note.
const maxVMCoreInfo = 1 << 20

// VMCoreInfo is the text that the kernel leaves for dump tools: what an address, an offset or a number of this build
// is. It holds lines KEY=value and, for values of a kind, KIND(name)=value.
//
// Linux: kernel/vmcore_info.c:crash_save_vmcoreinfo_init(), arch/x86/kernel/vmcore_info_64.c
type VMCoreInfo struct {
	values  map[string]string
	numbers map[string]uint64 // of the typed lines; negative ones in two's complement
	cut     string
}

// numberBase gives the base in which the kinds of typed lines are written. NUMBER is decimal unless it starts
// with 0x, and may be negative.
var numberBase = map[string]int{"SYMBOL": 16, "OFFSET": 10, "SIZE": 10, "LENGTH": 10, "NUMBER": 0}

// ParseVMCoreInfo parses the content of a VMCOREINFO note. It ends at the first NUL; what follows is not looked at.
// A last line without its newline was cut off when the note was written or copied: it is left out, and
// [VMCoreInfo.Cut] returns it. Of two lines with the same key the first holds. The error is a [*VMCoreInfoError].
func ParseVMCoreInfo(b []byte) (*VMCoreInfo, error) {
	if n := bytes.IndexByte(b, 0); n >= 0 {
		b = b[:n]
	}
	if len(b) > maxVMCoreInfo {
		return nil, &VMCoreInfoError{Msg: fmt.Sprintf("%d bytes, at most %d expected", len(b), maxVMCoreInfo)}
	}
	v := &VMCoreInfo{values: map[string]string{}, numbers: map[string]uint64{}}
	text := string(b)
	for n := 1; text != ""; n++ {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			v.cut = line
			break
		}
		text = rest
		if line == "" {
			continue
		}
		if msg := v.add(line); msg != "" {
			return nil, &VMCoreInfoError{n, line[:min(len(line), 80)], msg}
		}
	}
	if len(v.values) == 0 {
		return nil, &VMCoreInfoError{Msg: "no line KEY=value"}
	}
	return v, nil
}

// add takes one line in and says what is wrong with it, if anything.
func (v *VMCoreInfo) add(line string) string {
	for _, c := range []byte(line) {
		if c < ' ' || c == 0x7f {
			return "control character"
		}
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok || key == "" {
		return "not KEY=value"
	}
	if _, seen := v.values[key]; seen {
		return ""
	}
	if kind, _, typed := strings.Cut(key, "("); typed {
		base, known := numberBase[kind]
		if known && !strings.HasSuffix(key, ")") {
			return "no closing parenthesis"
		}
		if known {
			n, err := parseNumber(value, base)
			if err != nil {
				return "not a number"
			}
			v.numbers[key] = n
		}
	}
	v.values[key] = value
	return ""
}

func parseNumber(s string, base int) (uint64, error) {
	if base == 0 {
		base = 10
		if hex, ok := strings.CutPrefix(s, "0x"); ok {
			s, base = hex, 16
		}
	}
	if base == 10 && strings.HasPrefix(s, "-") {
		n, err := strconv.ParseInt(s, base, 64)
		return uint64(n), err
	}
	return strconv.ParseUint(s, base, 64)
}

// Get returns the text after KEY=. A typed key is given in full: "NUMBER(phys_base)".
func (v *VMCoreInfo) Get(key string) (string, bool) {
	if v == nil {
		return "", false
	}
	s, ok := v.values[key]
	return s, ok
}

func (v *VMCoreInfo) number(kind, name string) (uint64, bool) {
	if v == nil {
		return 0, false
	}
	n, ok := v.numbers[kind+"("+name+")"]
	return n, ok
}

// Symbol returns SYMBOL(name). For an array or a function that is its address, for a plain variable the address of
// the variable; but "vmemmap" and "mem_section" (with SPARSEMEM_EXTREME) are pointers, and this is where they point.
func (v *VMCoreInfo) Symbol(name string) (x86.Virt, bool) {
	n, ok := v.number("SYMBOL", name)
	return x86.Virt(n), ok
}

// Offset returns OFFSET(name), in bytes; name is "struct.member".
func (v *VMCoreInfo) Offset(name string) (uint64, bool) { return v.number("OFFSET", name) }

// Size returns SIZE(name), in bytes.
func (v *VMCoreInfo) Size(name string) (uint64, bool) { return v.number("SIZE", name) }

// Length returns LENGTH(name), in elements.
func (v *VMCoreInfo) Length(name string) (uint64, bool) { return v.number("LENGTH", name) }

// Number returns NUMBER(name). Some numbers are addresses: convert them to uint64.
func (v *VMCoreInfo) Number(name string) (int64, bool) {
	n, ok := v.number("NUMBER", name)
	return int64(n), ok
}

// OSRelease returns the release of the kernel as uname -r prints it, "" if the text lacks it.
func (v *VMCoreInfo) OSRelease() string {
	s, _ := v.Get("OSRELEASE")
	return s
}

// KernelOffset returns how far KASLR moved the kernel image from its link address, in bytes.
//
// Linux: arch/x86/kernel/vmcore_info_64.c:arch_crash_save_vmcoreinfo()
func (v *VMCoreInfo) KernelOffset() (uint64, bool) {
	s, ok := v.Get("KERNELOFFSET")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 16, 64)
	return n, err == nil
}

// Cut returns the line that the text ends in the middle of, "" if it ends with a newline.
func (v *VMCoreInfo) Cut() string {
	if v == nil {
		return ""
	}
	return v.cut
}
