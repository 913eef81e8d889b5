package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"ptemu/internal/ptdump/capturetest"
)

// TestAuditDoc: doc/audit.md says what the program says. PTEMU_UPDATE=1 writes it anew.
func TestAuditDoc(t *testing.T) {
	auditDocFile := filepath.Join(capturetest.Repository(), "doc", "audit.md")
	if os.Getenv("PTEMU_UPDATE") != "" {
		if err := os.WriteFile(auditDocFile, auditDoc(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(auditDocFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, auditDoc()) {
		t.Error("doc/audit.md is not what the rules say: run PTEMU_UPDATE=1 go test ./internal/ptdump/audit -run TestAuditDoc")
	}
}

// TestAuditRuleTexts: every rule has a name in kebab case, once, and says what it has to.
func TestAuditRuleTexts(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z]+(-[a-z]+)+$`)
	seen := map[string]bool{}
	list := string(listRules())
	for id := range ruleCount {
		r := &rules[id]
		switch {
		case !kebab.MatchString(r.Name):
			t.Errorf("rule %d: name %q", id, r.Name)
		case seen[r.Name]:
			t.Errorf("%s: twice", r.Name)
		case r.Title == "" || r.Why == "" || r.How == "":
			t.Errorf("%s: incomplete", r.Name)
		case strings.Count(list, "  "+r.Name+" ") != 1:
			t.Errorf("%s: not listed once", r.Name)
		}
		seen[r.Name] = true
		if got, ok := ruleNamed(r.Name); !ok || got != id {
			t.Errorf("%s: found as %d", r.Name, got)
		}
		for _, text := range []string{r.Why, r.How, r.Alarms} {
			if text != "" && (!strings.HasSuffix(text, ".") || strings.Contains(text, "  ") || text[:1] != strings.ToUpper(text[:1]) && !strings.HasPrefix(text, "struct")) {
				t.Errorf("%s: not sentences: %q", r.Name, text)
			}
		}
	}
}
