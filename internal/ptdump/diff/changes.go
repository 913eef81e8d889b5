package diff

import (
	"fmt"
	"slices"
	"strings"

	"ptemu/internal/ptdump/usage"
)

// ChangesHelp lists the kinds of changes for the help.
func ChangesHelp() string {
	width := 0
	for _, n := range changeNames {
		width = max(width, len(n.name))
	}
	var b strings.Builder
	for _, n := range changeNames {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, n.name, n.text)
	}
	return b.String()
}

// ParseChanges reads names of changes.
func ParseChanges(flag string, names []string) (set change, err error) {
	for _, name := range names {
		c, ok := changeNamed(strings.TrimSpace(name))
		if !ok {
			return 0, usage.Errorf("--%s %s: no such change: want %s", flag, name, strings.Join(ChangeWords(), ", "))
		}
		set |= c
	}
	return set, nil
}

// ChangeWords returns the names of all changes, sorted.
func ChangeWords() []string {
	words := make([]string, 0, len(changeNames))
	for _, n := range changeNames {
		words = append(words, n.name)
	}
	slices.Sort(words)
	return words
}
