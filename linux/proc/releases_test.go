package proc

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/linux/kallsyms"
)

// processCaptures are the folders below those in PTEMU_CAPTURES whose guest printed all symbols and processes, with a whole
// dump. Without any the test is skipped.
func processCaptures(t *testing.T) map[string]string {
	dumps := map[string]string{}
	for _, root := range filepath.SplitList(os.Getenv("PTEMU_CAPTURES")) {
		logs, _ := filepath.Glob(filepath.Join(root, "procs-*", "guest.log.gz"))
		for _, log := range logs {
			for _, name := range []string{"full.kdump", "full.elf"} {
				dump := filepath.Join(filepath.Dir(log), name)
				if _, err := os.Stat(dump); err == nil && !strings.HasSuffix(filepath.Dir(dump), ".new") {
					dumps[log] = dump
				}
			}
		}
	}
	if len(dumps) == 0 {
		t.Skip("no folder of PTEMU_CAPTURES holds procs-*/guest.log.gz")
	}
	return dumps
}

// TestSymbols compares the symbols of whole captures with what /proc/kallsyms printed: where VMCOREINFO names the tables (since
// 6.0), and found by their shape alone.
func TestSymbols(t *testing.T) {
	for log, dump := range processCaptures(t) {
		t.Run(filepath.Base(filepath.Dir(log)), func(t *testing.T) {
			m := openMachine(t, dump)
			mem, err := m.sys.Memory(m.Mem)
			if err != nil {
				t.Fatal(err)
			}
			l := m.sys.Layout
			byShape, err := kallsyms.Search(mem, l.TextFirst, l.TextLast, 0)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string][]x86.Virt{}
			n := 0
			eachLine(t, log, func(line string) {
				if w := strings.Fields(line); len(w) == 4 && w[0] == "K" {
					name := w[2] + " " + w[3]
					want[name] = append(want[name], x86.Virt(hexNumber(t, w[1])))
					n++
				}
			})
			if n < 50_000 {
				t.Fatalf("the guest printed %d symbols", n)
			}
			compare := func(how string, got *kallsyms.Symbols) {
				names := map[string][]x86.Virt{}
				for i := range got.Len() {
					s := got.At(i)
					names[string(s.Type)+" "+s.Name] = append(names[string(s.Type)+" "+s.Name], s.Addr)
				}
				wrong := 0
				for name, places := range want {
					if slices.Sort(places); !slices.Equal(slices.Sorted(slices.Values(names[name])), places) {
						if wrong++; wrong < 10 {
							t.Errorf("%s: %s: got %v, want %v", how, name, names[name], places)
						}
					}
				}
				t.Logf("%s: %d symbols, the guest printed %d; %s", how, got.Len(), n, got.Encoding())
			}
			compare("by shape", byShape)
			if named, err := kallsyms.Parse(mem, m.sys.VMCoreInfo); err == nil {
				compare("VMCOREINFO", named)
			} else {
				t.Logf("VMCOREINFO does not name them: %v", err)
			}
		})
	}
}

func hexNumber(t *testing.T, s string) (n uint64) {
	t.Helper()
	for _, c := range s {
		d := strings.IndexRune("0123456789abcdef", c)
		if d < 0 {
			t.Fatalf("%q is no number", s)
		}
		n = n<<4 | uint64(d)
	}
	return n
}

// TestWithoutNote finds the same processes and areas in captures whose VMCOREINFO is hidden, and then the registers too.
func TestWithoutNote(t *testing.T) {
	for log, dump := range processCaptures(t) {
		t.Run(filepath.Base(filepath.Dir(log)), func(t *testing.T) {
			m := openMachine(t, dump)
			want := describeAll(m.find(t, Options{CPUs: m.cpus}))
			for how, cpus := range map[string][]linux.CPU{"registers": m.cpus, "memory alone": nil} {
				sys, err := linux.Detect(m.Mem, nil, cpus, linux.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if sys.Release != m.sys.Release || sys.ABI.Kernel() != m.sys.ABI.Kernel() || sys.KASLROffset != m.sys.KASLROffset {
					t.Errorf("%s: %q, KASLR offset %#x, %+v", how, sys.Release, sys.KASLROffset, sys.ABI.Kernel())
				}
				p, err := Find(context.Background(), m.Mem, sys, Options{CPUs: cpus})
				if err != nil {
					t.Errorf("%s: %v", how, err)
					continue
				}
				if got := describeAll(p); !slices.Equal(got, want) {
					t.Errorf("%s: %d processes, want %d", how, len(got), len(want))
				}
				t.Logf("%s: %d processes; %v", how, len(p.List), p.Facts)
			}
		})
	}
}

func describeAll(p *Processes) []string {
	var out []string
	for _, q := range p.List {
		out = append(out, describe(q))
	}
	return out
}
