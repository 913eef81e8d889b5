package kallsyms_test

import (
	"bufio"
	"compress/gzip"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ptemu/arch/x86"
	"ptemu/capture"
	"ptemu/internal/truth"
	"ptemu/linux"
	"ptemu/linux/kallsyms"
)

// shared returns the path of a file of the captures outside the repository, or skips the test.
func shared(t testing.TB, dir, name string) string {
	t.Helper()
	return truth.Whole(t, "../..", dir, name)
}

// kernel opens a capture.
func kernel(t testing.TB, path string) (*linux.System, *linux.KernelMemory) {
	t.Helper()
	c, err := capture.Open(path, capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, err := linux.Detect(c.Mem, c.VMCoreInfo, nil, linux.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Memory(c.Mem)
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// guestSymbols reads the lines "K address type name" that a guest printed.
func guestSymbols(t *testing.T, path string) []kallsyms.Symbol {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []kallsyms.Symbol
	for s := bufio.NewScanner(z); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) != 4 || w[0] != "K" {
			continue
		}
		addr, err := strconv.ParseUint(w[1], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, kallsyms.Symbol{Addr: x86.Virt(addr), Type: w[2][0], Name: w[3]})
	}
	if len(out) == 0 {
		t.Fatalf("%s: no K line", path)
	}
	return out
}

var captures = []struct{ dir, encoding string }{
	{"linux-6.1-4level", "absolute-percpu"},
	{"linux-7.2-4level", "place-relative"},
}

// TestCaptures holds the symbols of whole dumps against what the guest printed of itself.
func TestCaptures(t *testing.T) {
	for _, c := range captures {
		t.Run(c.dir, func(t *testing.T) {
			sys, mem := kernel(t, shared(t, c.dir, "full.kdump-zlib"))
			want := guestSymbols(t, shared(t, c.dir, "guest.log.gz"))
			start := time.Now()
			s, err := kallsyms.Parse(mem, sys.VMCoreInfo)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d symbols, %s, %v", s.Len(), s.Encoding(), time.Since(start))
			for _, w := range want {
				if va, ok := s.Lookup(w.Name); !ok || va != w.Addr {
					t.Errorf("%s is at %v, the guest says %v", w.Name, va, w.Addr)
				}
			}
			if s.Encoding() != c.encoding {
				t.Errorf("encoding %s, want %s", s.Encoding(), c.encoding)
			}
		})
	}
}

// TestExports finds exported symbols in the export table alone, and compares with kallsyms.
func TestExports(t *testing.T) {
	for _, c := range captures {
		t.Run(c.dir, func(t *testing.T) {
			sys, mem := kernel(t, shared(t, c.dir, "full.kdump-zlib"))
			s, err := kallsyms.Parse(mem, sys.VMCoreInfo)
			if err != nil {
				t.Fatal(err)
			}
			l := sys.Layout
			for _, name := range []string{"init_task"} {
				want, ok := s.Lookup(name)
				if !ok {
					t.Fatalf("kallsyms lacks %s", name)
				}
				start := time.Now()
				va, err := kallsyms.FindExport(mem, l.TextFirst, l.TextLast, name)
				if err != nil || va != want {
					t.Errorf("%s: %v, %v, kallsyms has %v", name, va, err, want)
				}
				t.Log(time.Since(start))
			}
			for _, name := range []string{"", "start_kernel"} {
				if va, err := kallsyms.FindExport(mem, l.TextFirst, l.TextLast, name); !errors.Is(err, kallsyms.ErrNoExport) {
					t.Errorf("%s: %v, %v", name, va, err)
				}
			}
		})
	}
}

// TestSearch finds the tables without being told where they are: the symbols are the same.
func TestSearch(t *testing.T) {
	for _, c := range captures {
		t.Run(c.dir, func(t *testing.T) {
			sys, mem := kernel(t, shared(t, c.dir, "full.kdump-zlib"))
			want, err := kallsyms.Parse(mem, sys.VMCoreInfo)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			got, err := kallsyms.Search(mem, sys.Layout.TextFirst, sys.Layout.TextLast, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, %v", got.Encoding(), time.Since(start))
			if got.Encoding() != c.encoding || got.Len() != want.Len() {
				t.Fatalf("%d symbols, %s; want %d, %s", got.Len(), got.Encoding(), want.Len(), c.encoding)
			}
			for i := range want.Len() {
				if got.At(i) != want.At(i) {
					t.Fatalf("symbol %d: %v, want %v", i, got.At(i), want.At(i))
				}
			}
		})
	}
}
