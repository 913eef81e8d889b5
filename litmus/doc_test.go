package litmus_test

import (
	"os"
	"strings"
	"testing"

	"ptemu/arch/x86"
	"ptemu/litmus"
	"ptemu/mm"
)

// TestTheReferenceIsComplete: doc/litmus.md tells of every verb, item, point and policy.
func TestTheReferenceIsComplete(t *testing.T) {
	b, err := os.ReadFile("../doc/litmus.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]bool{}
	for _, w := range strings.FieldsFunc(string(b), func(r rune) bool { return strings.ContainsRune(" \n|`,()[]\\", r) }) {
		words[strings.Trim(w, ".:\\")] = true
	}
	for _, kind := range []string{"verbs", "items", "points", "policies"} {
		for _, line := range litmus.Names(kind) {
			for _, w := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" []|:", r) }) {
				if kind == "verbs" && strings.ToUpper(w) == w {
					continue
				}
				if !words[w] {
					t.Errorf("%s: %s is not in the reference", kind, w)
				}
				if kind != "verbs" {
					break
				}
			}
		}
	}
}

// TestAreaFlagsAreKnown: every flag that an area can have has a name in the language.
func TestAreaFlagsAreKnown(t *testing.T) {
	for _, name := range mm.VMFlagNames(^x86.VMFlags(0)) {
		text := "map a 1 rw\nexpect a 0 area " + name
		if _, err := litmus.Parse("f.pt", text); err != nil {
			t.Error(err)
		}
	}
}
