package kallsyms_test

import (
	"bufio"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/linux/kallsyms"
	"ptemu/physmem"
)

// ram is memory in pages. It implements kallsyms.Memory.
type ram map[x86.Virt]*[x86.PageSize]byte

func (r ram) ReadAt(p []byte, va x86.Virt) error {
	for len(p) > 0 {
		page := r[va&^(x86.PageSize-1)]
		if page == nil {
			return fmt.Errorf("%v: %w", va, physmem.ErrAbsent)
		}
		n := copy(p, page[va.Offset():])
		p, va = p[n:], va+x86.Virt(n)
	}
	return nil
}

// write stores b from va on, and makes the pages for it.
func (r ram) write(va x86.Virt, b []byte) {
	for len(b) > 0 {
		at := va &^ (x86.PageSize - 1)
		if r[at] == nil {
			r[at] = new([x86.PageSize]byte)
		}
		n := copy(r[at][va.Offset():], b)
		b, va = b[n:], va+x86.Virt(n)
	}
}

// notes are the lines SYMBOL(name) of VMCOREINFO. They implement kallsyms.Info.
type notes map[string]x86.Virt

func (n notes) Symbol(name string) (x86.Virt, bool) {
	va, ok := n[name]
	return va, ok
}

// excerpt reads a file of testdata: see the README there.
func excerpt(t testing.TB, name string) (mem ram, info notes, lines []string) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	mem, info = ram{}, notes{}
	for s := bufio.NewScanner(z); s.Scan(); {
		line := s.Text()
		if symbol, ok := strings.CutPrefix(line, "SYMBOL("); ok {
			key, value, _ := strings.Cut(symbol, ")=")
			info[key] = address(t, value)
		} else if w := strings.Fields(line); w[0] == "page" {
			b, err := hex.DecodeString(w[2])
			if err != nil {
				t.Fatal(err)
			}
			mem.write(address(t, w[1]), b)
		} else {
			lines = append(lines, line)
		}
	}
	return mem, info, lines
}

func address(t testing.TB, s string) x86.Virt {
	t.Helper()
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return x86.Virt(n)
}

var excerpts = []struct {
	file     string
	encoding string
}{
	{"6.1.txt.gz", "absolute-percpu"},
	{"6.12.txt.gz", "absolute-percpu"},
	{"7.2.txt.gz", "place-relative"},
}

// TestExcerpts holds real tables against what the kernel they are from printed of them.
func TestExcerpts(t *testing.T) {
	for _, e := range excerpts {
		t.Run(e.file, func(t *testing.T) {
			mem, info, lines := excerpt(t, e.file)
			s, err := kallsyms.Parse(mem, info)
			if err != nil {
				t.Fatal(err)
			}
			checkLines(t, s, lines)
			if s.Encoding() != e.encoding {
				t.Errorf("encoding %s", s.Encoding())
			}
			if _, ok := info["kallsyms_relative_base"]; !ok {
				return
			}
			delete(info, "kallsyms_relative_base")
			s, err = kallsyms.Parse(mem, info)
			if err != nil {
				t.Fatal(err)
			}
			checkLines(t, s, lines)
			if want := e.encoding + ", base derived"; s.Encoding() != want {
				t.Errorf("encoding %s, want %s", s.Encoding(), want)
			}
		})
	}
}

// checkLines compares with the lines of /proc/kallsyms.
func checkLines(t *testing.T, s *kallsyms.Symbols, lines []string) {
	t.Helper()
	if s.Len() != len(lines) || len(lines) < 1000 {
		t.Fatalf("%d symbols, %d lines", s.Len(), len(lines))
	}
	first := map[string]x86.Virt{}
	at := map[x86.Virt]string{}
	i := 0
	for sym := range s.All() {
		if got := fmt.Sprintf("%016x %c %s", uint64(sym.Addr), sym.Type, sym.Name); got != lines[i] || sym != s.At(i) {
			t.Fatalf("symbol %d: %q, the kernel printed %q", i, got, lines[i])
		}
		if _, ok := first[sym.Name]; !ok {
			first[sym.Name] = sym.Addr
		}
		if at[sym.Addr] == "" {
			at[sym.Addr] = sym.Name
		}
		i++
	}
	for name, want := range first {
		if va, ok := s.Lookup(name); !ok || va != want {
			t.Fatalf("%s is at %v, not %v", name, va, want)
		}
	}
	for va, want := range at {
		if name, off := s.Near(va); name != want || off != 0 {
			t.Fatalf("at %v is %s+%d, not %s", va, name, off, want)
		}
	}
	last := s.At(s.Len() - 1).Addr
	if name, off := s.Near(last + 5); name != at[last] || off != 5 {
		t.Errorf("behind all: %s+%d", name, off)
	}
	for _, name := range []string{"", "no such symbol", "T_stext", "_stex"} {
		if va, ok := s.Lookup(name); ok {
			t.Errorf("%q is at %v", name, va)
		}
	}
}
