package ptdump

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/ptdump/usage"
	"ptemu/internal/truth"
)

// TestAddresses: how addresses can be written without a capture.
func TestAddresses(t *testing.T) {
	for s, want := range map[string]x86.Virt{
		"400000": 0x400000, "0x400000": 0x400000, "ffff_8880_0000_0000": 0xffff888000000000, "add": 0xadd,
		"400000+2M": 0x600000, "0x400000+1000": 0x401000, "400000-1000": 0x3ff000, "ffffffffffffffff+0": 0xffffffffffffffff,
	} {
		if got, err := new(places).address("address", s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"init_task", "_text+0x1000", "memcpy-8", ".data", "a.cold.1"} {
		if _, err := new(places).address("address", s); !errors.Is(err, errNeedsCapture) {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", "+", "-", "+2M", "0x", "400000+", "400000+zz", "1000-2000", "ffffffffffffffff+1", "1ffffffffffffffff", "a b", "0xzz", "_text+x"} {
		var wrong *usage.Error
		if _, err := new(places).address("address", s); !errors.As(err, &wrong) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestVMCoreInfoSymbols: where the kernel's symbols are not in the capture, those of VMCOREINFO are known yet; others are
// refused with the reason.
func TestVMCoreInfoSymbols(t *testing.T) {
	path := filepath.Join(capturetest.Repository(), "testdata", "captures", "linux-7.2-4level", "tables.elf.zst")
	in := capturetest.Open(t, path, session.RootNames[0])
	va, ok := in.System.VMCoreInfo.Symbol("_stext")
	if !ok {
		t.Fatal("VMCOREINFO lacks _stext")
	}
	_, want, _ := run(t, "translate", path, (va + 0x1000).String())
	code, got, stderr := run(t, "translate", path, "_stext+1000")
	if code != exitOK || got != want {
		t.Errorf("exit %d, %s%s", code, got, stderr)
	}
	_, want, _ = run(t, "entries", "--range", fmt.Sprintf("%v-%v", va, va+1<<21), path)
	if _, got, _ := run(t, "entries", "--range", "_stext+2M", path); got != want || got == "" {
		t.Errorf("--range: %s, want %s", got, want)
	}
	code, _, stderr = run(t, "translate", path, "init_task")
	if code != exitUsage || !strings.Contains(stderr, "lacks the memory") || strings.Contains(stderr, "kallsyms_") {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

// TestSymbols: in captures of whole machines, symbols are where VMCOREINFO has them, and init_task is known.
func TestSymbols(t *testing.T) {
	found := 0
	capturetest.EachCapture(t, func(t *testing.T, _ truth.Folder, dump string) {
		in, err := session.Open(t.Context(), dump, &session.Options{CPU: -1, Root: session.RootNames[0]})
		if err != nil {
			return // other tests say why
		}
		defer in.Close()
		at := &places{in: in}
		va, err := at.address("address", "init_task-0")
		if err != nil {
			if !strings.Contains(err.Error(), errTablesOnly.Error()) {
				t.Error(err)
			}
			return
		}
		found++
		stext, _ := in.System.VMCoreInfo.Symbol("_stext")
		if got, err := at.address("address", "_stext"); err != nil || got != stext || va < in.System.Layout.TextFirst || va > in.System.Layout.TextLast {
			t.Errorf("_stext at %v, want %v, %v; init_task at %v", got, stext, err, va)
		}
	})
	if found == 0 {
		t.Skip("no capture of a whole machine is here: PTEMU_CAPTURES names a folder of them")
	}
}

// TestRegionFlag: a region's entries are those of its range, as info prints it.
func TestRegionFlag(t *testing.T) {
	path := filepath.Join(capturetest.Repository(), "testdata", "captures", "linux-7.2-4level", "tables.elf.zst")
	in := capturetest.Open(t, path, session.RootNames[0])
	markers := in.System.Markers()
	for i, m := range markers {
		if m.Name != "vmalloc" {
			continue
		}
		_, want, _ := run(t, "entries", "--range", fmt.Sprintf("%v-%v", m.Addr, markers[i+1].Addr), path)
		for _, name := range []string{"vmalloc", "VMALLOC"} {
			if code, got, stderr := run(t, "entries", "--region", name, path); code != exitOK || got != want || strings.Count(got, "\n") < 10 {
				t.Errorf("%s: exit %d, %q, %d lines, want %d", name, code, stderr, strings.Count(got, "\n"), strings.Count(want, "\n"))
			}
		}
	}
	for _, args := range [][]string{{"--region", "fixmap"}, {"--region", "user", "--region", "vmalloc"}, {"--region", "user", "--range", "0-1000"}} {
		if code, _, stderr := run(t, append([]string{"dump", "--style", "kernel", path}, args...)...); code != exitUsage || !strings.Contains(stderr, "one --r") {
			t.Errorf("--style kernel %q: exit %d, %q", args, code, stderr)
		}
	}
	if code, stdout, stderr := run(t, "dump", "--style", "kernel", "--region", "kernel-text", path); code != exitOK || !strings.Contains(stdout, "High Kernel Mapping") {
		t.Errorf("--style kernel --region kernel-text: exit %d, %s%s", code, stdout, stderr)
	}
	seen := ""
	for _, name := range regionNames() { // all together are the whole
		if code, got, stderr := run(t, "entries", "--region", name, "--format", "jsonl", path); code == exitOK {
			seen += got
		} else if !strings.Contains(stderr, "this kernel has none") {
			t.Errorf("%s: %q", name, stderr)
		}
	}
	_, all, _ := run(t, "entries", "--format", "jsonl", path)
	if strings.Count(seen, "\n") != strings.Count(all, "\n") {
		t.Errorf("%d entries in regions, %d in all", strings.Count(seen, "\n"), strings.Count(all, "\n"))
	}
}

// TestPageRange: one address stands for its page.
func TestPageRange(t *testing.T) {
	path := capturetest.Small(t, false)
	_, want, _ := run(t, "entries", "--range", "401000-402000", path)
	if code, got, _ := run(t, "entries", "--range", "401abc", path); code != exitOK || got != want || !strings.Contains(got, "0x0000000000401000") {
		t.Errorf("exit %d, %s", code, got)
	}
}

// TestPidByName: a process by its name is the same as by its PID.
func TestPidByName(t *testing.T) {
	m := smallTown()
	path := m.Write(t, 0)
	for _, args := range []string{"maps @ WHO", "dump --user --pid WHO @", "translate --pid WHO @ 600000", "audit --pid WHO @", "map @ WHO --format svg"} {
		words := func(who string) []string {
			return strings.Fields(strings.NewReplacer("@", path, "WHO", who).Replace(args))
		}
		code, want, stderr := runOn(t, m, words("12")...)
		if code > exitFinding || want == "" {
			t.Fatalf("%s: exit %d, %q", args, code, stderr)
		}
		if _, got, _ := runOn(t, m, words("worker")...); got != want {
			t.Errorf("%s: by name\n%s\nby PID\n%s", args, got, want)
		}
		if code, stdout, stderr := runOn(t, m, words("nobody")...); code != exitUnreadable || stdout != "" || !strings.Contains(stderr, "no process named nobody") {
			t.Errorf("%s: exit %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
