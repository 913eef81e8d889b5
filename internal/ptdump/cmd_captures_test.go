package ptdump

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/session"
	"ptemu/internal/truth"
)

// TestEntriesAgainstTLB: the present entries that the command prints are the leaves that QEMU's walk found, each
// with QEMU's frame, size and flags, and no other.
func TestEntriesAgainstTLB(t *testing.T) {
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		code, stdout, stderr := run(t, "entries", "--kind", "present", "--where", "r", "--format", "jsonl", "--cpu", "0", dump)
		if strings.Contains(stderr, "the kernel root of the pair stands for it") {
			t.Skip("the root that the processor was on is not in this capture")
		}
		if code != exitOK || stderr != "" {
			t.Fatalf("exit %d, stderr %q", code, stderr)
		}
		dec := json.NewDecoder(strings.NewReader(stdout))
		n := 0
		err := f.TLB(func(l truth.TLBLeaf) error {
			n++
			var e struct {
				VA, Raw string
				PFN     uint64
				Size    uint64
				Bits    []string
			}
			if err := dec.Decode(&e); err != nil {
				return err
			}
			has := map[string]bool{}
			for _, b := range e.Bits {
				has[b] = true
			}
			// QEMU clears bit 7 of a base page, so that P is large and PAT is not seen.
			for flag, bit := range map[string]string{
				"X": "NX", "G": "GLOBAL", "P": "PSE", "D": "DIRTY", "A": "ACCESSED", "C": "PCD", "T": "PWT", "U": "USER", "W": "RW",
			} {
				if strings.Contains(l.Flags, flag) != has[bit] {
					return fmt.Errorf("%#x: %s %v, QEMU has %s", l.VA, bit, has[bit], l.Flags)
				}
			}
			if e.VA != fmt.Sprintf("0x%016x", l.VA) || e.PFN != l.PA>>12 {
				return fmt.Errorf("entry %+v, QEMU has %#x: %#x", e, l.VA, l.PA)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("leaf %d: %v", n, err)
		}
		if dec.More() {
			t.Errorf("more entries than QEMU's %d leaves", n)
		}
		t.Logf("%d leaves", n)
	})
}

// TestTranslateAgainstTLB: what translate says of a byte within each of some hundred leaves is what QEMU found.
func TestTranslateAgainstTLB(t *testing.T) {
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		o, err := session.Open(context.Background(), dump, &session.Options{CPU: 0, Root: "cr3"})
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		tr, err := newTranslator(o, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = f.TLB(func(l truth.TLBLeaf) error {
			if n++; n%97 != 0 {
				return nil
			}
			const offset = 0x123
			got := tr.translate([]x86.Virt{x86.Virt(l.VA + offset)}).Translations[0]
			if got.PA != fmt.Sprintf("%#x", l.PA+offset) {
				return fmt.Errorf("%s to %s, QEMU has %#x", got.VA, got.PA, l.PA)
			}
			if !strings.Contains(l.Flags, "U") && (got.Rights.U || got.Access[0].OK) {
				return fmt.Errorf("%s: user access where the leaf has none: %+v", got.VA, got)
			}
			if !strings.Contains(l.Flags, "W") && (got.Rights.W || got.Access[4].OK) {
				return fmt.Errorf("%s: writable where the leaf is not: %+v", got.VA, got)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if n < 97 {
			t.Errorf("QEMU found %d leaves only", n)
		}
	})
}

// TestCapturesInfo: info finds in every capture the registers that QEMU printed.
func TestCapturesInfo(t *testing.T) {
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		_, out, _ := run(t, "info", "--format", "json", dump)
		var i info
		if err := json.Unmarshal([]byte(out), &i); err != nil {
			t.Fatal(err)
		}
		regs, err := f.Registers()
		if err != nil {
			t.Fatal(err)
		}
		if len(regs) != len(i.CPUs) {
			t.Fatalf("%d CPUs, QEMU has %d", len(i.CPUs), len(regs))
		}
		for n, want := range regs {
			if i.CPUs[n].CR3 != fmt.Sprintf("%#x", want.CR3) {
				t.Errorf("CR3 %s of CPU %d, QEMU has %#x", i.CPUs[n].CR3, n, want.CR3)
			}
		}
		if !strings.Contains(f.Name()+"-", "-"+i.Profile+"-") || !strings.HasPrefix(i.Release, i.Profile+".") {
			t.Errorf("kernel %s, release %s of %s", i.Profile, i.Release, f.Name())
		}
		if la57 := strings.Contains(f.Name(), "la57"); la57 != (i.Levels == 5) {
			t.Errorf("%d levels of %s", i.Levels, f.Name())
		}
	})
}

func BenchmarkCommand(b *testing.B) {
	folders, err := truth.Folders(capturetest.Repository())
	if err != nil || len(folders) == 0 {
		b.Skip("no captures: ", err)
	}
	dump := folders[len(folders)-1].Dumps()[0]
	for _, args := range [][]string{{"entries", "--format", "jsonl"}, {"entries"}, {"dump"}, {"dump", "--style", "kernel"}} {
		b.Run(strings.Join(args, ""), func(b *testing.B) {
			lines := 0
			count := writerFunc(func(p []byte) (int, error) {
				lines += bytes.Count(p, []byte("\n"))
				return len(p), nil
			})
			for range b.N {
				if code := Main(context.Background(), append(args, dump), count, count); code != exitOK {
					b.Fatal("exit code ", code)
				}
			}
			b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

// TestRoots: in the captures with PTI and two CPUs one was stopped in user mode, on the user root, the other in the kernel,
// on the other root of the same pair. So each finds what the other does if told to take the other root.
func TestRoots(t *testing.T) {
	pti := 0
	capturetest.EachCapture(t, func(t *testing.T, f truth.Folder, dump string) {
		switch name := f.Name() + "-"; {
		case strings.Contains(name, "-pti-") && !strings.Contains(name, "-2cpu-"):
			t.Skip("one CPU is on one root of the pair")
		case !strings.Contains(name, "-pti-"):
			if code, _, stderr := run(t, "entries", "--root", "pti-user", dump); code != exitUnreadable || !strings.Contains(stderr, "pair") {
				t.Errorf("without PTI: exit %d, %s", code, stderr)
			}
			return
		}
		pti++
		entries := func(args ...string) string {
			code, stdout, stderr := run(t, append(append([]string{"entries"}, args...), dump)...)
			if code != exitOK {
				t.Fatalf("%q: exit %d, %s", args, code, stderr)
			}
			return stdout
		}
		regs, err := f.Registers()
		if err != nil || len(regs) != 2 {
			t.Fatalf("registers %x, %v", regs, err)
		}
		// Linux keeps the user root in the upper one of two frames.
		user, kernel := "0", "1"
		if regs[0].CR3&x86.PageSize == 0 {
			user, kernel = kernel, user
		}
		onUser, onKernel := entries("--cpu", user), entries("--cpu", kernel)
		if onUser == onKernel {
			t.Error("both CPUs see the same tree")
		}
		for _, cpu := range []string{user, kernel} {
			if entries("--cpu", cpu, "--root", "pti-user") != onUser || entries("--cpu", cpu, "--root", "pti-kernel") != onKernel {
				t.Errorf("the roots of CPU %s are not those of the pair", cpu)
			}
		}
	})
	if pti == 0 {
		t.Error("no capture with PTI was tried")
	}
}
