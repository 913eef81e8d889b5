package ptdump

import (
	"encoding/json"
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

// problemReason returns the word that programs may rely on.
func problemReason(p *Problem) string {
	for _, c := range problemClasses {
		if errors.Is(p.Err, c.err) {
			return c.reason
		}
	}
	return "unreadable"
}

// problemClass returns the text under which problems are counted.
func problemClass(p *Problem) string {
	for _, c := range problemClasses {
		if errors.Is(p.Err, c.err) {
			return c.text
		}
	}
	return "table unreadable"
}

// problemText says to a person what is wrong.
func problemText(p *Problem) string {
	switch reason := problemReason(p); reason {
	case "absent", "excluded":
		return problemClass(p)
	case "unreadable":
		return problemClass(p) + ": " + p.Err.Error()
	}
	return p.Err.Error()
}

// invalidText is the reasons of [swapentry.Layout.Check] in one line, without the entry.
func invalidText(err error) string {
	var e *swapentry.EntryError
	if errors.As(err, &e) {
		err = e.Err
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// appendJSONString appends s as a JSON string.
func appendJSONString(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // no string fails
	}
	return append(dst, b...)
}
