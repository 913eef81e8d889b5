package ptdump

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"ptemu/internal/ptdump/capturetest"
	"ptemu/internal/ptdump/session"
)

// TestWords: what users type first gets an answer in words that help.
func TestWords(t *testing.T) {
	good := capturetest.Small(t, false)
	tables := filepath.Join(capturetest.Repository(), "testdata", "captures", "linux-7.2-4level", "tables.elf.zst")
	for _, c := range []struct {
		args     string
		has, not string
	}{
		{"version", "--version", "Did you mean"},
		{"man", "ptdump help", "Did you mean"},
		{"info -", "pipe", "stat -"},
		{"dump --enc-mask 4 @", "--enc-mask 0x4: want one bit", "bad option"},
		{"dump --levels x @", `"x"`, "strconv"},
		{"extract --pid init @ -o x", "number", "strconv"},
		{"dump --kernel six @", "6.18", "bad option"},
		{"completion tcsh", "bash", ""},
		{"help foo", "foo", ""},
		{"who @ ffff888000001000", "ptdump translate", ""},
		{"ps #", "page tables: of processes, the root tables alone are known", "kallsyms"},
		{"who # 91ae000", "page tables: of processes, the root tables alone are known", "kallsyms"},
		{"audit #", "page tables: of processes, the root tables alone are known", "kallsyms"},
	} {
		_, stdout, stderr := run(t, strings.Fields(strings.NewReplacer("@", good, "#", tables).Replace(c.args))...)
		if !strings.Contains(stderr, c.has) || c.not != "" && strings.Contains(stderr, c.not) || strings.Contains(stdout, "Usage:") {
			t.Errorf("%s: %q", c.args, stderr)
		}
	}
}

// TestForeignReleaseSaidOnce: that a kernel is not known is one line, whoever says so.
func TestForeignReleaseSaidOnce(t *testing.T) {
	for _, release := range []string{"4.4.0-test", "9.9.0-test"} {
		good := capturetest.Small(t, false)
		b, err := os.ReadFile(good)
		if err != nil {
			t.Fatal(err)
		}
		foreign := filepath.Join(t.TempDir(), "foreign")
		write(t, foreign, bytes.Replace(b, []byte("OSRELEASE=6.12.0-test"), []byte("OSRELEASE="+release+"\n"), 1)[:len(b)])
		_, _, stderr := run(t, "dump", foreign)
		if n := strings.Count(stderr, "nearest"); n != 1 {
			t.Errorf("%s: said %d times: %s", release, n, stderr)
		}
		_, stdout, _ := run(t, "info", foreign)
		if strings.Contains(stdout, "Debian") || !strings.Contains(stdout, "nearest") {
			t.Errorf("%s: %s", release, stdout)
		}
	}
}

// TestUnpackingIsTold: opening a compressed capture tells how far it is, and never goes back.
func TestUnpackingIsTold(t *testing.T) {
	plain, err := os.ReadFile(capturetest.Small(t, false))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "small.elf.gz")
	write(t, path, b.Bytes())
	var told []float64
	m := &session.Options{CPU: -1, Root: session.RootNames[0]}
	m.Capture.Progress = func(part float64) { told = append(told, part) }
	in, err := session.Open(t.Context(), path, m)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if len(told) == 0 || !slices.IsSorted(told) || told[0] <= 0 || told[len(told)-1] > 1 {
		t.Errorf("%v", told)
	}
}
