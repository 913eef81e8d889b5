package litmus_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ptemu/litmus"
)

// coverage are the lists of what shows what, and the folder of the tests that they name without one.
var coverage = map[string]string{
	"COVERAGE-mprotect.md": "mprotect", "COVERAGE-faults-1.md": "faults", "COVERAGE-faults-2.md": "uffd-fork-swap", "COVERAGE-rmap.md": "rmap",
	"COVERAGE-seeds.md": "seeds",
}

var remark = regexp.MustCompile(`\([^)]*\)`)

// namedBy returns the tests of one row of a list: "a, b; c-* (remark)". A row that begins with "not covered:" names none.
func namedBy(row, folder string) (names []string) {
	cells := strings.Split(strings.Trim(strings.TrimSpace(row), "|"), "|")
	last := strings.TrimSpace(cells[len(cells)-1])
	if strings.HasPrefix(last, "not covered: ") {
		return nil
	}
	for _, name := range strings.FieldsFunc(remark.ReplaceAllString(last, ""), func(r rune) bool { return r == ',' || r == ';' }) {
		if name = strings.TrimSpace(name); !strings.Contains(name, "/") {
			name = folder + "/" + name
		}
		names = append(names, name)
	}
	return names
}

// TestCoverageLists: every test of the corpus is in a list, and every test that a list names is in the corpus.
func TestCoverageLists(t *testing.T) {
	programs, err := litmus.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, p := range programs {
		listed[p.Name] = false
	}
	lists, err := filepath.Glob("corpus/*.md")
	if err != nil || len(lists) != len(coverage) {
		t.Fatalf("lists %v, %v; %d are known", lists, err, len(coverage))
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range strings.Split(string(text), "\n") {
			if !strings.HasPrefix(row, "| ") || row == "| situation | test |" {
				continue
			}
			for _, pattern := range namedBy(row, coverage[filepath.Base(list)]) {
				found := false
				for name := range listed {
					if ok, err := path.Match(pattern, name); err == nil && ok {
						listed[name], found = true, true
					}
				}
				if !found {
					t.Errorf("%s:%d: no test %s", list, i+1, pattern)
				}
			}
		}
	}
	for name, ok := range listed {
		if !ok {
			t.Errorf("%s is in no list", name)
		}
	}
}
