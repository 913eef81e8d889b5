package tree

import (
	"errors"
	"strings"

	"ptemu/pgtable"
	"ptemu/physmem"
	"ptemu/swapentry"
)

// problemClasses are the kinds of problems that have a name: the "reason" of the JSON output, and a text for people.
var problemClasses = []struct {
	err          error
	reason, text string
}{
	{physmem.ErrAbsent, "absent", "table not in capture"},
	{physmem.ErrExcluded, "excluded", "table excluded from capture"},
	{pgtable.ErrLoop, "loop", "table is its own ancestor"},
	{pgtable.ErrAliased, "aliased", "too many visits of shared tables"},
	{pgtable.ErrReserved, "reserved", "reserved bit set"},
	{pgtable.ErrBadEntry, "bad-entry", "neither empty nor present"},
}

// ProblemReason returns the word that programs may rely on.
func ProblemReason(p *pgtable.Problem) string {
	for _, c := range problemClasses {
		if errors.Is(p.Err, c.err) {
			return c.reason
		}
	}
	return "unreadable"
}

// ProblemClass returns the text under which problems are counted.
func ProblemClass(p *pgtable.Problem) string {
	for _, c := range problemClasses {
		if errors.Is(p.Err, c.err) {
			return c.text
		}
	}
	return "table unreadable"
}

// ProblemText says to a person what is wrong.
func ProblemText(p *pgtable.Problem) string {
	switch reason := ProblemReason(p); reason {
	case "absent", "excluded":
		return ProblemClass(p)
	case "unreadable":
		return ProblemClass(p) + ": " + p.Err.Error()
	}
	return p.Err.Error()
}

// InvalidText is the reasons of [swapentry.Layout.Check] in one line, without the entry.
func InvalidText(err error) string {
	var e *swapentry.EntryError
	if errors.As(err, &e) {
		err = e.Err
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}
