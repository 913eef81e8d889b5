package ptdump

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInvestigations: doc/investigate.md shows what the commands in it print. A line "..." stands for any lines, and "| head"
// for the end being left out.
func TestInvestigations(t *testing.T) {
	text, err := os.ReadFile("../../doc/investigate.md")
	if err != nil {
		t.Fatal(err)
	}
	const folder = "../../testdata/investigate"
	checked := 0
	for block := range strings.SplitSeq(string(text), "\n\n") {
		command, ok := strings.CutPrefix(block, "    $ ptdump ")
		if !ok {
			continue
		}
		command, shown, _ := strings.Cut(command, "\n")
		command, _, short := strings.Cut(command, " | head")
		args := strings.Fields(command)
		here := false
		for i, a := range args {
			if _, err := os.Stat(filepath.Join(folder, a)); err == nil {
				args[i], here = filepath.Join(folder, a), true
			}
		}
		if !here || shown == "" {
			continue
		}
		t.Run(args[0], func(t *testing.T) {
			checked++
			_, stdout, stderr := run(t, args...)
			if err := shows(strings.Split(strings.TrimRight(stdout+stderr, "\n"), "\n"), strings.Split(shown, "\n"), short); err != "" {
				t.Errorf("ptdump %s prints otherwise: %s\n%s%s", command, err, stdout, stderr)
			}
		})
	}
	if checked < 7 {
		t.Errorf("only %d commands are in it with what they print", checked)
	}
}

// shows says which line of the text is not there, in order, in what was printed; "" if all are.
func shows(printed, text []string, short bool) string {
	at, skip := 0, false
	for _, line := range text {
		line = strings.TrimRight(strings.TrimPrefix(line, "    "), " ")
		if line == "..." {
			skip = true
			continue
		}
		for skip && at < len(printed) && strings.TrimRight(printed[at], " ") != line {
			at++
		}
		if at == len(printed) || strings.TrimRight(printed[at], " ") != line {
			return "where is " + line
		}
		at, skip = at+1, false
	}
	if at < len(printed) && !skip && !short {
		return "not shown: " + printed[at]
	}
	return ""
}
