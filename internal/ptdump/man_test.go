package ptdump

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

const (
	manFolder        = "../../doc/man"
	completionFolder = "../../doc/completions"
)

// manDate stands in all pages: a page is to change with its text alone.
var manDate = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)

// indented is a row of lines that begin with two blanks: a table or an example, whose shape is to stay.
var indented = regexp.MustCompile(`(?m)(?:^  .*\n?)+`)

// asMarkdown marks what must keep its shape.
func asMarkdown(text string) string {
	return indented.ReplaceAllStringFunc(text, func(block string) string {
		return "\n" + regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.TrimRight(block, "\n"), "    ") + "\n\n"
	})
}

// manPages renders the pages of the whole command tree, by file name.
func manPages(t *testing.T) map[string][]byte {
	t.Helper()
	root := newRootCommand(&options{stdout: io.Discard, stderr: io.Discard}, io.Discard)
	dir := t.TempDir()
	prepare(root)
	header := &doc.GenManHeader{Section: "1", Source: "ptemu", Manual: "Page tables of Linux", Date: &manDate}
	if err := doc.GenManTree(root, header, dir); err != nil {
		t.Fatal(err)
	}
	return folder(t, dir)
}

func prepare(c *cobra.Command) {
	c.DisableAutoGenTag = true
	c.Version = ""
	c.Long = asMarkdown(c.Long)
	for _, sub := range c.Commands() {
		if sub.Name() == "completion" || sub.Name() == "help" {
			sub.Hidden = true
		}
		prepare(sub)
	}
}

// completions renders the completion scripts.
func completions(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for shell, name := range map[string]string{"bash": "ptdump.bash", "zsh": "_ptdump", "fish": "ptdump.fish", "powershell": "ptdump.ps1"} {
		code, stdout, stderr := run(t, "completion", shell)
		if code != exitOK || stdout == "" {
			t.Fatalf("%s: exit %d, %q", shell, code, stderr)
		}
		files[name] = []byte(stdout)
	}
	return files
}

func folder(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = b
	}
	return files
}

// TestGeneratedPages: the pages and scripts in doc are those of the commands. -update writes them.
func TestGeneratedPages(t *testing.T) {
	for dir, want := range map[string]map[string][]byte{manFolder: manPages(t), completionFolder: completions(t)} {
		if *update {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			for name, text := range want {
				if err := os.WriteFile(filepath.Join(dir, name), text, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		have := folder(t, dir)
		for name := range have {
			if want[name] == nil {
				t.Errorf("%s/%s: nothing makes it any more", dir, name)
			}
		}
		for name, text := range want {
			if !bytes.Equal(have[name], text) {
				t.Errorf("%s/%s is not up to date: go test ./internal/ptdump -run TestGeneratedPages -update", dir, name)
			}
		}
	}
}

// TestPagesAreWhole: every command has a page, and tables in the text keep their lines.
func TestPagesAreWhole(t *testing.T) {
	pages := manPages(t)
	for _, c := range newRootCommand(&options{stdout: io.Discard, stderr: io.Discard}, io.Discard).Commands() {
		if !c.Runnable() || slices.Contains([]string{"help", "completion"}, c.Name()) {
			continue
		}
		if page := pages["ptdump-"+c.Name()+".1"]; !bytes.Contains(page, []byte(c.Name())) {
			t.Errorf("no page of %s", c.Name())
		}
	}
	if page := pages["ptdump.1"]; !regexp.MustCompile(`(?m)^ *130 +interrupted$`).Match(page) {
		t.Errorf("the exit codes have lost their lines:\n%s", page)
	}
}
