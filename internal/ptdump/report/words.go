package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// QuoteName returns the name of a process or a file as text that cannot disturb a terminal or a table.
func QuoteName(s string) string {
	if strings.TrimSpace(s) != s || disturbs(s) {
		return strconv.Quote(s)
	}
	return s
}

// disturbs reports whether a text has what a terminal obeys in place of showing it.
func disturbs(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || !strconv.IsPrint(r) })
}

// Printable returns a sentence that may hold words of the capture, with what cannot be seen as escapes. Lines stay lines.
func Printable(s string) string {
	if !disturbs(s) {
		return s
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if disturbs(line) {
			lines[i] = Visible(line)
		}
	}
	return strings.Join(lines, "\n")
}

// Visible writes what cannot be seen, or would change how the rest is read, as an escape of Go.
func Visible(s string) string {
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// Plural counts things whose plural takes an s.
func Plural(n int, what string) string { return Count(n, what, what+"s") }

// Count counts things by their singular and plural: "no entries", "1 entry", "2 entries".
func Count(n int, one, more string) string {
	switch n {
	case 0:
		return "no " + more
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
