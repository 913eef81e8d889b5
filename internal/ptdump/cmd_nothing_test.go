package ptdump

import (
	"strings"
	"testing"

	"ptemu/internal/ptdump/capturetest"
)

// TestNothingMatched: in text, an empty answer is said to be one; for programs it is just empty.
func TestNothingMatched(t *testing.T) {
	path := capturetest.Small(t, false)
	for _, command := range []string{"entries", "dump"} {
		for _, format := range []string{"text", "jsonl", "json", "csv"} {
			for where, nothing := range map[string]bool{"w && x && nx": true, "w": false} {
				code, _, stderr := run(t, command, "--format", format, "--where", where, path)
				if said := strings.Contains(stderr, "no entry matched"); code != exitOK || said != (nothing && format == "text") {
					t.Errorf("%s --format %s --where %q: exit %d, %q", command, format, where, code, stderr)
				}
			}
		}
	}
}

// TestEmptyFilters: a filter that is given and empty, as an unset variable makes it, is a mistake and not all entries.
func TestEmptyFilters(t *testing.T) {
	path := capturetest.Small(t, false)
	for _, args := range [][]string{{"--where", ""}, {"--where", " "}, {"--kind", ""}, {"--kind", "swap,"}, {"--kind", "swop"}} {
		if code, stdout, stderr := run(t, append([]string{"entries", path}, args...)...); code != exitUsage || stdout != "" {
			t.Errorf("%q: exit %d, %q, %q", args, code, stdout, stderr)
		}
	}
	_, want, _ := run(t, "entries", "--kind", "swap", path)
	for _, args := range [][]string{{"--kind", "Swap"}, {"--where", "SWAP"}, {"--where", "kind==swap"}} {
		if _, got, _ := run(t, append([]string{"entries", path}, args...)...); got != want {
			t.Errorf("%q prints\n%s", args, got)
		}
	}
}
