package ps

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ptemu/internal/ptdump/report"
)

// In returns the list in one of the formats.
func (l *Processes) In(format string, c report.Palette) ([]byte, error) {
	switch format {
	case "json":
		return report.MarshalArray(l.rows)
	case "jsonl":
		return report.MarshalLines(l.rows)
	case "csv":
		return l.csv(), nil
	}
	return l.text(c), nil
}

func (l *Processes) text(c report.Palette) []byte {
	t := report.NewTable(c,
		">PID", ">PPID", ">THREADS", ">AREAS", ">RESIDENT", ">SWAPPED", ">HUGE", ">WRITABLE", ">DIRTY", ">UFFD-WP",
		">SOFT-DIRTY", ">TABLES", "ROOT", "COMM")
	for _, r := range l.rows {
		t.Add(r.cells()...)
	}
	dst := t.Append(nil)
	dst = fmt.Appendf(dst, "%s in %s, in pages of 4K: %d resident, %d swapped, %d huge, %d uffd-wp, %d soft-dirty; %s\n",
		report.Count(len(l.rows), "process", "processes"), report.Count(l.spaces, "address space", "address spaces"), l.total.Resident,
		l.total.Swapped, l.total.Huge, l.total.UffdWP, l.total.SoftDirty, report.Plural(int(l.tables), "page table"))
	return dst
}

// cells is the row as text.
func (r *row) cells() []string {
	number := func(p *int) string {
		if p == nil {
			return "?"
		}
		return strconv.Itoa(*p)
	}
	cells := []string{number(r.PID), number(r.PPID), strconv.Itoa(r.Threads)}
	comm := report.QuoteName(r.Comm)
	if r.Thread {
		cells[2] = ""
		comm = "  " + comm
	}
	if r.Kernel {
		comm = "[" + comm + "]"
	}
	if r.Root == nil || r.Counts == nil {
		for range 9 {
			cells = append(cells, "-")
		}
		return append(cells, "-", comm)
	}
	c := r.Counts
	for _, n := range []uint64{
		uint64(r.Areas), c.Resident, c.Swapped, c.Huge, c.Writable, c.Dirty, c.UffdWP, c.SoftDirty, r.Tables,
	} {
		cells = append(cells, strconv.FormatUint(n, 10))
	}
	root := *r.Root
	if r.UserRoot != "" {
		root += " user " + r.UserRoot
	}
	if r.SharesWith != nil {
		comm += fmt.Sprintf("  (memory of %d)", *r.SharesWith)
	}
	if r.Problems > 0 {
		comm += "  ! " + report.Plural(r.Problems, "problem") + ": " + strings.Join(slices.Sorted(maps.Keys(r.ProblemReasons)), ", ")
	}
	if r.AreasError != "" {
		comm += "  ! areas: " + report.Printable(r.AreasError)
	}
	return append(cells, root, comm)
}

func (l *Processes) csv() []byte {
	dst := []byte("pid,tgid,ppid,comm,kernel,thread,threads,root,user_root,shares_mm_with,areas,areas_error")
	for _, c := range figures {
		dst = append(append(dst, ','), c.name...)
	}
	dst = append(dst, ",page_tables,page_table_bytes,problems,problem_reasons\n"...)
	for _, r := range l.rows {
		dst = r.csv(dst)
	}
	return dst
}

func (r *row) csv(dst []byte) []byte {
	number := func(p *int) {
		if p != nil {
			dst = strconv.AppendInt(dst, int64(*p), 10)
		}
		dst = append(dst, ',')
	}
	number(r.PID)
	number(r.TGID)
	number(r.PPID)
	dst = report.AppendCSVString(dst, report.QuoteName(r.Comm))
	dst = report.AppendCSVBool(dst, r.Kernel)
	dst = report.AppendCSVBool(dst, r.Thread)
	dst = fmt.Appendf(dst, ",%d,", r.Threads)
	if r.Root != nil {
		dst = append(dst, *r.Root...)
	}
	dst = append(append(append(dst, ','), r.UserRoot...), ',')
	number(r.SharesWith)
	dst = fmt.Appendf(dst, "%d,", r.Areas)
	dst = report.AppendCSVString(dst, r.AreasError)
	dst = appendCSVCounts(dst, r.Counts)
	dst = fmt.Appendf(dst, ",%d,%d,%d,", r.Tables, r.TableBytes, r.Problems)
	dst = append(dst, strings.Join(slices.Sorted(maps.Keys(r.ProblemReasons)), "|")...)
	return append(dst, '\n')
}

// appendCSVCounts appends the figures, a comma before each; without any they are empty.
func appendCSVCounts(dst []byte, c *Counts) []byte {
	for _, column := range figures {
		dst = append(dst, ',')
		if c != nil {
			dst = strconv.AppendUint(dst, column.of(c), 10)
		}
	}
	return dst
}
