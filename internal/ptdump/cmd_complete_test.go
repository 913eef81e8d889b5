package ptdump

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"ptemu/internal/ptdump/capturetest"
)

// complete0 asks for completions of the last word, as shells do, and returns those that begin so, without what describes them.
func complete0(t *testing.T, words ...string) (out []string, directive string) {
	t.Helper()
	code, stdout, stderr := run(t, append([]string{cobra.ShellCompRequestCmd}, words...)...)
	if code != exitOK {
		t.Fatalf("%q: exit %d, %q", words, code, stderr)
	}
	for line := range strings.Lines(stdout) {
		line = strings.TrimSuffix(line, "\n")
		if d, ok := strings.CutPrefix(line, ":"); ok {
			return out, d
		}
		word, _, _ := strings.Cut(line, "\t")
		if strings.HasPrefix(word, words[len(words)-1]) {
			out = append(out, word)
		}
	}
	t.Fatalf("%q: no directive in %q", words, stdout)
	return
}

func TestCompleteWords(t *testing.T) {
	for _, c := range []struct {
		words string // separated by "|"
		want  []string
	}{
		{"entries|--where|uff", []string{"uffd-wp"}},
		{"entries|--where|w && dirt", []string{"w && dirty"}},
		{"entries|--where|!(migrat", []string{"!(migration"}},
		{"entries|--region|kernel", []string{"kernel-text"}},
		{"entries|--kernel|", []string{"auto", "6.1", "6.12", "7.2"}},
		{"audit|--explain|shared-priv", []string{"shared-private-page"}},
	} {
		if got, _ := complete0(t, strings.Split(c.words, "|")...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.words, got, c.want)
		}
	}
	for _, word := range []string{"present", "pte", "w", "guard", "pfn", "va", "entry", "soft-dirty"} {
		if !slices.Contains(whereWords(), word) {
			t.Errorf("--where does not complete %q", word)
		}
	}
	for _, word := range []string{"the", "and", "names", "bits"} {
		if slices.Contains(whereWords(), word) {
			t.Errorf("--where completes %q", word)
		}
	}
}

func TestCompletePIDs(t *testing.T) {
	path := filepath.Join(capturetest.Repository(), "testdata", "investigate", "processes.elf.zst")
	_, stdout, _ := run(t, "ps", "--format", "csv", path)
	var want []string
	for line := range strings.Lines(stdout) {
		f := strings.Split(line, ",")
		if !strings.Contains(line, ",0x") { // without a root table
			continue
		}
		want = append(want, f[0])
	}
	for _, words := range [][]string{{"maps", path, ""}, {"map", path, ""}, {"dump", path, "--pid", ""}, {"translate", path, "--pid", ""}} {
		if got, _ := complete0(t, words...); !slices.Equal(got, want) || len(got) < 5 {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
	for _, words := range [][]string{{"maps", "no-such-file", ""}, {"dump", "--pid", ""}, {"maps", path, "1", ""}} {
		if got, _ := complete0(t, words...); len(got) > 0 {
			t.Errorf("%q: %q", words, got)
		}
	}
}

func TestCompleteCaptures(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"vmcore", "full.elf", "tables.elf.zst", "guest.log.zst", "vmcore-dmesg.txt", "qemu.txt.gz", ".hidden"} {
		write(t, filepath.Join(dir, name), nil)
	}
	if err := os.Mkdir(filepath.Join(dir, "more"), 0o777); err != nil {
		t.Fatal(err)
	}
	at := func(names ...string) []string {
		for i := range names {
			names[i] = dir + "/" + names[i]
		}
		return names
	}
	if got, _ := complete0(t, "info", dir+"/"); !slices.Equal(got, at("full.elf", "more/", "tables.elf.zst", "vmcore")) {
		t.Errorf("%q", got)
	}
	if got, _ := complete0(t, "info", dir+"/vm"); !slices.Equal(got, at("vmcore")) {
		t.Errorf("%q", got)
	}
	if got, _ := complete0(t, "diff", "a", dir+"/vm"); !slices.Equal(got, at("vmcore")) {
		t.Errorf("second capture: %q", got)
	}
	for _, word := range []string{"full", "qemu", "nothing", "../no/such/folder/"} { // the shell completes these better
		if got, directive := complete0(t, "info", dir+"/"+word); len(got) > 0 || directive != "0" {
			t.Errorf("%s: %q, directive %s", word, got, directive)
		}
	}
	if got, directive := complete0(t, "info", dir+"/full.elf", ""); len(got) > 0 || directive != "4" {
		t.Errorf("after the capture: %q, %s", got, directive)
	}
}
