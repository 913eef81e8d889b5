package litmus_test

import (
	"fmt"
	"strings"
	"testing"

	"ptemu/litmus"
)

// TestEveryVerbIsRead: the grammar that Names prints is the one that Parse reads: every verb with each of its options.
func TestEveryVerbIsRead(t *testing.T) {
	const before = "file f 8\nmap r 8 rw\nmap other 8 rw\nget handle r 0\nremember r 0 as mark\n"
	args := strings.NewReplacer("NEW-REGION", "fresh", "CHILD", "q", "HANDLE", "handle", "FILE", "f", "COUNT", "2", "PROT", "rw",
		"NAME", "fresh", "ADVICE", "dontneed", "ITEM...", "present", "PAGES", "r 0-1", "REGION", "other", "N", "1")
	values := strings.NewReplacer("WHO", "bus", "ERRNO", "EINVAL", "POINT", "flush", " N", " 1", "FILE", "f", "REGION", "other")
	verbs := litmus.Names("verbs")
	if len(verbs) < 40 {
		t.Fatalf("%d verbs", len(verbs))
	}
	for _, usage := range verbs {
		base, rest, _ := strings.Cut(usage, " [")
		options := strings.FieldsFunc(rest, func(r rune) bool { return r == '[' || r == ']' || r == '|' })
		for _, option := range append(options, "") {
			if option == " " {
				continue
			}
			option = values.Replace(option)
			text := before + args.Replace(base) + " " + option + "\nexpect r 0 present\n"
			if _, err := litmus.Parse("f.pt", text); err != nil {
				t.Errorf("%s: %v", usage, err)
				continue
			}
			roundTrip(t, text)
		}
	}
}

// TestEveryItemIsRead: so do the items.
func TestEveryItemIsRead(t *testing.T) {
	for _, usage := range litmus.Names("items") {
		words := strings.Fields(usage)
		arg := ""
		switch {
		case strings.HasSuffix(usage, "PAGES"):
			arg = "p: r 1"
		case len(words) > 2 && words[1] == "LIST":
			arg = words[3]
		case len(words) > 1 && words[1] == "NAME":
			arg = "mark"
		case len(words) > 1:
			arg = "1"
		}
		for _, not := range []string{"", "!"} {
			text := fmt.Sprintf("map r 8 rw\nremember r 0 as mark\nexpect r 0 %s%s %s\n", not, words[0], arg)
			if _, err := litmus.Parse("f.pt", text); err != nil {
				t.Errorf("%s: %v", usage, err)
				continue
			}
			roundTrip(t, text)
		}
	}
}
