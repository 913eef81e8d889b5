package mm_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump"
	"ptemu/litmus"
	"ptemu/pgtable"
)

// captured is a program that leaves entries of all kinds, in two processes.
const captured = `
machine huge-pages
file    f 8 shmem
map     a 16 rw
map     h 1024 rw
map     s 8 rwx shared of f
map     p 8 r private of f
map     w 4 rw
write   a 0-9 = 5
read    a 10-11
write   h 0
read    h 512
write   s 0-3
read    p 2-5
write   w 0-1
protect a 0 r
protect a 1 none
numa    a 2
uffd-register w wp
uffd-protect w 0
uffd-register s wp
uffd-protect s 0
uffd-protect s 5-6
swap-out a 5-7
clear-refs soft-dirty
fork    q
write   a 3 = 6
q: write a 4 = 7
q: read  a 5
pin     d a 8 write
expect  a 3 contents 6
`

// TestCapture writes the emulator out as an ELF core, and has ptdump print its entries: they are those of the tables.
func TestCapture(t *testing.T) {
	prog, err := litmus.Parse("captured.pt", captured)
	must(t, err)
	for _, kernel := range litmus.Kernels() {
		t.Run(kernel, func(t *testing.T) {
			e, err := litmus.NewEmulator(prog, kernel, "")
			must(t, err)
			defer e.Close()
			if r := litmus.Run(prog, e, kernel, "", litmus.Observer{}); r.Verdict != litmus.Pass {
				t.Fatal(r.Failures)
			}
			must(t, e.Machine().Check())
			path := filepath.Join(t.TempDir(), "emulated.elf")
			f, err := os.Create(path)
			must(t, err)
			must(t, e.WriteCapture(f))
			must(t, f.Close())
			for i, name := range e.Processes() {
				got, want := dumped(t, path, kernel, i), emulated(t, e, name)
				if len(want) < 16 {
					t.Errorf("process %s has %d entries only", name, len(want))
				}
				compareEntries(t, name, got, want)
			}
		})
	}
}

func compareEntries(t *testing.T, name string, got, want map[x86.Virt]uint64) {
	t.Helper()
	for va, e := range want {
		if got[va] != e {
			t.Errorf("process %s, %v: ptdump says %#x, the tables %#x", name, va, got[va], e)
		}
	}
	for va, e := range got {
		if _, ok := want[va]; !ok {
			t.Errorf("process %s, %v: ptdump says %#x, the tables have nothing", name, va, e)
		}
	}
}

// dumped returns the entries that ptdump finds from processor i on.
func dumped(t *testing.T, path, kernel string, i int) map[x86.Virt]uint64 {
	t.Helper()
	var out, problems bytes.Buffer
	args := []string{"entries", "--user", "--format", "jsonl", "--cpu", fmt.Sprint(i), path}
	if code := ptdump.Main(context.Background(), args, &out, &problems); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, &problems)
	}
	all := map[x86.Virt]uint64{}
	for line := range strings.Lines(out.String()) {
		var e struct{ VA, Raw, Kind, Invalid string }
		must(t, json.Unmarshal([]byte(line), &e))
		var va, raw uint64
		if _, err := fmt.Sscanf(e.VA+" "+e.Raw, "0x%x %x", &va, &raw); err != nil || e.Kind == "problem" || e.Invalid != "" {
			t.Fatalf("%s: %v", line, err)
		}
		all[x86.Virt(va)] = raw
	}
	return all
}

// emulated returns the entries in the tables of a process.
func emulated(t *testing.T, e *litmus.Emulator, name string) map[x86.Virt]uint64 {
	t.Helper()
	s, all := e.Process(name), map[x86.Virt]uint64{}
	must(t, s.Tree().EachPMD(pgtable.Range{Last: s.Tree().Limit() - 1}, false, func(slot pgtable.PMDSlot) error {
		if !slot.HasTable() {
			if slot.Entry != 0 {
				all[slot.First] = uint64(slot.Entry)
			}
			return nil
		}
		c, err := slot.LockPTEs()
		if err != nil {
			return err
		}
		defer c.Unlock()
		for i, raw := range c.Table() {
			if raw != 0 {
				all[slot.First+x86.Virt(i)*x86.PageSize] = raw
			}
		}
		return nil
	}))
	return all
}
