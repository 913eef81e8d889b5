package ptdump

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
)

// in returns the translations in one of the formats.
func (r *translations) in(format string, c report.Palette) ([]byte, error) {
	switch format {
	case "json":
		b, err := json.MarshalIndent(r, "", "  ")
		return append(b, '\n'), err
	case "jsonl":
		var b bytes.Buffer
		lines := json.NewEncoder(&b)
		for _, t := range r.Translations {
			if err := lines.Encode(t); err != nil {
				return nil, err
			}
		}
		return b.Bytes(), nil
	case "csv":
		rows := [][]string{csvTranslateColumns}
		for _, t := range r.Translations {
			rows = append(rows, t.row())
		}
		return csvBytes(rows)
	}
	return r.text(c), nil
}

// csvTranslateColumns are the columns of translate --format csv. What an address does not have is empty. Level to bits
// are of the last entry that the walk met.
var csvTranslateColumns = []string{
	"va", "region", "outcome", "pa", "page_size", "r", "w", "x", "u", "memory_type", "pkey",
	"level", "entry_pa", "raw", "meaning", "kind", "bits", "path",
	"user_read", "user_write", "user_execute", "kernel_read", "kernel_write", "kernel_execute", "error",
	"area_start", "area_end", "area_perms", "area_name",
}

func (t *translation) row() []string {
	row := []string{t.VA, t.Region, t.Outcome, t.PA}
	if t.Rights != nil {
		row = append(row, strconv.FormatUint(t.PageSize, 10))
		for _, on := range [...]bool{t.Rights.R, t.Rights.W, t.Rights.X, t.Rights.U} {
			row = append(row, string(report.AppendCSVBool(nil, on)[1:]))
		}
	} else {
		row = append(row, "", "", "", "", "")
	}
	row = append(row, t.MemoryType)
	if t.Pkey != nil {
		row = append(row, strconv.Itoa(int(*t.Pkey)))
	} else {
		row = append(row, "")
	}
	var last step
	var path []string
	for _, s := range t.Steps {
		last = s
		path = append(path, s.Level+":"+s.EntryPA+":"+s.Raw)
	}
	row = append(row, last.Level, last.EntryPA, last.Raw, last.Meaning, string(last.Kind), strings.Join(last.Bits, "|"),
		strings.Join(path, "|"))
	for _, a := range t.Access { // user first, each read, write, execute
		row = append(row, a.text())
	}
	var area areaOf
	if t.Area != nil {
		area = *t.Area
	}
	return append(row, t.Error, area.Start, area.End, area.Perms, area.Name)
}

// csvBytes returns the records as CSV.
func csvBytes(rows [][]string) ([]byte, error) {
	var b bytes.Buffer
	err := csv.NewWriter(&b).WriteAll(rows)
	return b.Bytes(), err
}

func (r *translations) text(c report.Palette) []byte {
	var b bytes.Buffer
	for i, t := range r.Translations {
		if i > 0 {
			b.WriteByte('\n')
		}
		t.text(&b, c)
	}
	if len(r.Assumed) > 0 {
		b.WriteByte('\n')
	}
	for _, a := range r.Assumed {
		fmt.Fprintf(&b, "assumed: %s\n", a)
	}
	return b.Bytes()
}

func (t *translation) text(b *bytes.Buffer, c report.Palette) {
	title := t.VA
	if t.Region != "" {
		title += "  " + t.Region
	}
	fmt.Fprintln(b, c.Paint(c.Bold, title))
	if a := t.Area; a != nil {
		fmt.Fprintf(b, "  area     %s-%s %s%s\n", a.Start, a.End, a.Perms, prefixed(" ", report.QuoteName(a.Name)))
	}
	if len(t.Steps) > 0 {
		fmt.Fprintln(b, c.Paint(c.Dim, "  LEVEL ENTRY AT           ENTRY             MEANING                       FLAGS"))
	}
	for i, s := range t.Steps {
		color := ""
		if i == len(t.Steps)-1 {
			color = entries.KindColor(c, s.Kind)
			if t.Outcome == "reserved bit" {
				color = c.Bad
			}
		}
		line := fmt.Sprintf("  %-5s %-18s %s  %s%s", s.Level, s.EntryPA, s.Raw,
			c.Paint(color, fmt.Sprintf("%-28s", s.Meaning)), prefixed("  ", strings.Join(s.Bits, " ")))
		fmt.Fprintln(b, strings.TrimRight(line, " "))
	}
	if t.Error != "" {
		fmt.Fprintf(b, "  %s\n", c.Paint(c.Bad, "! "+t.Error))
	}
	if t.PA != "" {
		fmt.Fprintf(b, "  physical %s, %s page, memory type %s\n", t.PA, report.AppendSize(nil, t.PageSize), t.MemoryType)
		key := ""
		if t.Pkey != nil {
			key = fmt.Sprintf(", protection key %d", *t.Pkey)
		}
		fmt.Fprintf(b, "  rights   %s over all levels%s\n", c.Paint(entries.RightsColor(c, *t.Rights), t.Rights.String()), key)
	} else {
		fmt.Fprintf(b, "  %s\n", c.Paint(c.Bad, t.Outcome))
	}
	t.textAccess(b, c)
}

// textAccess writes the table of accesses: a row for each kind, a column for each mode.
func (t *translation) textAccess(b *bytes.Buffer, c report.Palette) {
	half := len(t.Access) / 2 // user first
	user := make([]string, half)
	width := len("USER")
	for i := range half {
		user[i] = t.Access[i].text()
		width = max(width, len(user[i]))
	}
	fmt.Fprintln(b, c.Paint(c.Dim, fmt.Sprintf("           %-*s  KERNEL", width, "USER")))
	for i := range half {
		kernel := t.Access[half+i]
		fmt.Fprintf(b, "  %-8s %s  %s\n", t.Access[i].Access,
			t.Access[i].paint(c, fmt.Sprintf("%-*s", width, user[i])), kernel.paint(c, kernel.text()))
	}
}

// text is "ok", or the exception with its error code and reason: "#PF 0x7 (P W U): read-only".
func (a *access) text() string {
	switch {
	case a.OK:
		return "ok"
	case a.Exception == "":
		return "unknown: " + a.Why
	case a.Exception != "#PF":
		return a.Exception + ": " + a.Why
	case *a.Code == 0:
		return fmt.Sprintf("%s 0x0: %s", a.Exception, a.Why)
	}
	return fmt.Sprintf("%s %#x (%s): %s", a.Exception, *a.Code, strings.Join(a.CodeNames, " "), a.Why)
}

func (a *access) paint(c report.Palette, s string) string {
	if a.OK {
		return s
	}
	return c.Paint(c.Warn, s)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
