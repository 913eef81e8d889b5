package ptdump

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"ptemu/internal/ptdump/audit"
	"ptemu/internal/ptdump/capturetest"
)

// TestSortNames: the names of figures may be written as they are in JSON, and as they are spoken.
func TestSortNames(t *testing.T) {
	path := filepath.Join(capturetest.Repository(), "testdata", "investigate", "processes.elf.zst")
	_, want, _ := run(t, "ps", "--sort", "uffd_wp", path)
	if code, got, stderr := run(t, "ps", "--sort", "uffd-wp", path); code != exitOK || got != want || want == "" {
		t.Errorf("exit %d, %d bytes for %d: %s", code, len(got), len(want), stderr)
	}
	if code, _, stderr := run(t, "ps", "--sort", "uffd wp", path); code != exitUsage || !strings.Contains(stderr, "want pid") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestRulesJSON: the rules can be read by programs, all of them and one alone.
func TestRulesJSON(t *testing.T) {
	var all, one []struct{ Rule, Severity, Why, How string }
	_, stdout, stderr := run(t, "audit", "--list", "--format", "json")
	if err := json.Unmarshal([]byte(stdout), &all); err != nil || len(all) != len(audit.RuleNames()) || stderr != "" {
		t.Errorf("%v, %d rules, %s", err, len(all), stderr)
	}
	for _, r := range all {
		if r.Rule == "" || r.Severity == "" || r.Why == "" || r.How == "" {
			t.Errorf("%+v", r)
		}
	}
	_, stdout, _ = run(t, "audit", "--explain", "user-wx", "--format", "jsonl")
	if err := json.Unmarshal([]byte("["+stdout+"]"), &one); err != nil || len(one) != 1 || one[0].Rule != "user-wx" {
		t.Errorf("%v, %s", err, stdout)
	}
	if code, _, _ := run(t, "audit", "--list", "--format", "csv"); code != exitUsage {
		t.Errorf("exit %d", code)
	}
	for asked, near := range map[string]string{"user-xw": "user-wx", "user_wx": "user-wx", "bogus": "", "": ""} {
		code, _, stderr := run(t, "audit", "--only", asked, "x")
		if said := strings.Contains(stderr, "did you mean "+near); code != exitUsage && asked != "" || said != (near != "") {
			t.Errorf("%q: exit %d: %s", asked, code, stderr)
		}
	}
}
