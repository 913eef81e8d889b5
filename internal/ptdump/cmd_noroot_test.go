package ptdump

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/capture/elfcore"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/session"
	"ptemu/physmem"
)

// lacking is memory without some frames.
type lacking struct {
	physmem.Reader
	frames []x86.PFN
}

func (l lacking) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error {
	if slices.Contains(l.frames, pfn) {
		return &physmem.FrameError{PFN: pfn, Err: physmem.ErrAbsent}
	}
	return l.Reader.ReadFrame(pfn, dst)
}

// without writes a capture anew, less some frames.
func without(t *testing.T, path string, frames ...x86.PFN) string {
	t.Helper()
	c, err := capture.Open(path, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var ranges []physmem.Range
	for _, r := range c.Mem.Ranges() {
		for _, pfn := range slices.Sorted(slices.Values(frames)) {
			if r.Contains(pfn.Phys()) {
				ranges = append(ranges, physmem.Range{Start: r.Start, End: pfn.Phys()})
				r.Start = pfn.Phys() + x86.PageSize
			}
		}
		ranges = append(ranges, r)
	}
	ranges = slices.DeleteFunc(ranges, func(r physmem.Range) bool { return r.Len() == 0 })
	var b bytes.Buffer
	if err := elfcore.Write(&b, lacking{c.Mem, frames}, ranges, c.Notes); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "lacking.elf")
	if err := os.WriteFile(out, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return out
}

// ptiRoots opens a committed capture of a machine with PTI and returns the pair of CPU 0, which runs on the user root.
func ptiRoots(t *testing.T, folder string) (path string, kernel, user x86.PFN, init []x86.PFN) {
	t.Helper()
	path = filepath.Join(capturetest.Repository(), "testdata", "captures", folder, "tables.elf.zst")
	in := capturetest.Open(t, path, session.RootNames[0])
	for _, c := range in.System.CPUs {
		if !c.PTI || in.ABI.TableFrame(c.CR3) != c.User.PFN() {
			continue
		}
		i := in.System.InitMM
		return path, c.Kernel.PFN(), c.User.PFN(), []x86.PFN{i.Kernel.PFN(), i.User.PFN()}
	}
	t.Fatal("no CPU runs on its user root")
	return
}

// TestUserRootMissing: where filtering took the user root of a pair away, the kernel's stands for it, and it is said.
func TestUserRootMissing(t *testing.T) {
	for _, folder := range []string{"linux-6.12-4level-pti-2cpu", "linux-7.2-la57-pti-2cpu"} {
		path, kernel, user, _ := ptiRoots(t, folder)
		cut := without(t, path, user)
		_, want, _ := run(t, "entries", "--user", "--cr3", kernel.Phys().String(), path)
		code, got, stderr := run(t, "entries", "--user", cut)
		if code != exitOK || got != want || strings.Count(got, "\n") < 100 || !strings.Contains(stderr, "user root") {
			t.Errorf("%s: exit %d, %d lines, want %d, stderr %q", folder, code, strings.Count(got, "\n"), strings.Count(want, "\n"), stderr)
		}
		code, text, _ := run(t, "info", "--format", "json", cut)
		var i info
		if err := json.Unmarshal([]byte(text), &i); err != nil {
			t.Fatal(err)
		}
		if code != exitOK || i.Root == nil || i.Root.Addr != kernel.Phys().String() || !strings.Contains(i.Root.Why, "not in the capture") ||
			strings.Contains(text, "names no other") || !strings.Contains(strings.Join(i.Warnings, ";"), "user root") {
			t.Errorf("%s: exit %d, root %+v, warnings %q", folder, code, i.Root, i.Warnings)
		}
		code, _, stderr = run(t, "dump", "--root", "pti-user", cut)
		if code != exitUnreadable || !strings.Contains(stderr, "not in the capture") {
			t.Errorf("%s, --root pti-user: exit %d, %q", folder, code, stderr)
		}
	}
}

// TestNoUserHalf: where no CPU's root is left, init_mm's tables do not pass for those of a program. The registers stay.
func TestNoUserHalf(t *testing.T) {
	path, kernel, user, _ := ptiRoots(t, "linux-6.12-4level-pti-2cpu")
	in := capturetest.Open(t, path, session.RootNames[0])
	gone := []x86.PFN{kernel, user}
	for _, c := range in.System.CPUs {
		gone = append(gone, c.Kernel.PFN(), c.User.PFN())
	}
	cut := without(t, path, slices.Compact(slices.Sorted(slices.Values(gone)))...)
	for _, args := range [][]string{
		{"dump", "--user"}, {"entries", "--user"}, {"dump", "--range", "400000+2M"}, {"dump", "--region", "user"}, {"dump", "--cpu", "0"}, {"translate", "ADDR"},
	} {
		full := append(slices.Clone(args), cut)
		if args[0] == "translate" {
			full = []string{"translate", cut, "400000"}
		}
		code, stdout, stderr := run(t, full...)
		if code != exitUnreadable || stdout != "" || !strings.Contains(stderr, "not in capture") {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
	code, stdout, stderr := run(t, "translate", cut, in.System.Layout.TextFirst.String())
	if code != exitOK || strings.Contains(stdout, "control registers") || !strings.Contains(stdout, "kernel text") {
		t.Errorf("kernel address: exit %d, %s%s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, "info", cut)
	if code != exitOK || strings.Contains(stdout, "names no other") || !strings.Contains(stdout, "no user half") {
		t.Errorf("info: exit %d, %s", code, stdout)
	}
	code, stdout, stderr = run(t, "dump", cut)
	if code != exitOK || !strings.Contains(stdout, "kernel text") || !strings.Contains(stderr, "note: no user half") {
		t.Errorf("dump: exit %d, %q", code, stderr)
	}
	code, _, _ = run(t, "dump", "--user", "--root", "swapper", cut)
	if code != exitOK {
		t.Errorf("--root swapper, as asked: exit %d", code)
	}
	// The same holds where the capture has no processors at all.
	bare := capturetest.Repository() + "/testdata/captures/linux-6.12-4level-pti-2cpu/tables.elf.zst"
	c, err := capture.Open(bare, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b bytes.Buffer
	if err := elfcore.Write(&b, c.Mem, c.Mem.Ranges(), nil); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none.elf")
	write(t, none, b.Bytes())
	if code, stdout, stderr := run(t, "dump", "--user", none); code != exitUnreadable || stdout != "" || !strings.Contains(stderr, "names no other") {
		t.Errorf("no CPUs: exit %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// TestInfoOfBadRoot: info prints what it knows of a capture whose root table cannot be read or is not in use.
func TestInfoOfBadRoot(t *testing.T) {
	in := capturetest.Open(t, capturetest.Small(t, false), session.RootNames[0])
	cut := without(t, in.Capture.Path, in.Root.PFN())
	off := filepath.Join(t.TempDir(), "off.elf")
	b, err := os.ReadFile(in.Capture.Path)
	if err != nil {
		t.Fatal(err)
	}
	const cr0 = "\x33\x00\x05\x80\x00\x00\x00\x00"
	if bytes.Count(b, []byte(cr0)) != 1 {
		t.Fatal("CR0 is not to be found in the file")
	}
	write(t, off, bytes.Replace(b, []byte(cr0), []byte("\x10\x00\x00\x60\x00\x00\x00\x00"), 1))
	for _, c := range []struct{ path, why string }{{cut, "not in capture"}, {off, "paging is off"}} {
		for _, format := range formatNames {
			code, stdout, stderr := run(t, "info", "--format", format, c.path)
			if code != exitFinding || !strings.Contains(stderr, c.why) {
				t.Errorf("%s: exit %d, %q", c.why, code, stderr)
			}
			for _, want := range []string{"ELF core", "6.12.0-test", c.why, "0x1000000"} {
				if !strings.Contains(stdout, want) {
					t.Errorf("%s, %s: no %q in\n%s", c.why, format, want, stdout)
				}
			}
		}
	}
}
