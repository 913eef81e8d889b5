package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"ptemu/bench"
)

// style says how tables look.
type style uint8

const (
	plain style = iota
	markdown
)

// printer writes until a write fails.
type printer struct {
	w     io.Writer
	style style
	err   error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) heading(s string) {
	if p.style == markdown {
		p.printf("\n## %s\n\n", s)
		return
	}
	p.printf("\n%s\n%s\n", s, strings.Repeat("-", len(s)))
}

// table prints cells; the first line is the head, the first column is text.
func (p *printer) table(lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			width[i] = max(width[i], len(c))
		}
	}
	for n, l := range lines {
		for i, c := range l {
			switch {
			case p.style == markdown:
				p.printf("| %s ", c)
			case i == 0:
				p.printf("%-*s", width[i], c)
			default:
				p.printf("  %*s", width[i], c)
			}
		}
		if p.style == markdown {
			p.printf("|")
		}
		p.printf("\n")
		if n == 0 && p.style == markdown {
			p.printf("|---%s|\n", strings.Repeat("|---:", len(l)-1))
		}
	}
}

// writeText writes the whole report.
func writeText(w io.Writer, r *Report, s style) error {
	p := &printer{w: w, style: s}
	p.header(r)
	for _, size := range sizesOf(r.Rows) {
		for _, order := range []bench.Order{bench.Contiguous, bench.Shuffled} {
			p.set(r.Rows, size, order)
		}
	}
	p.reach(r)
	p.calls(r.Rows)
	p.skipped(r.Rows)
	return p.err
}

// about says what the tables are.
const about = `Times are nanoseconds for one page-table entry. "floor" is the same bytes bare read, or read, flipped and written,
by the fastest code for it; "scalar" a plain Go loop; "locked" one entry at a time through the public API; "kernel" the
running kernel doing the same to as many pages of its own. "x floor" is how many times the floor's time it takes, "x
faster" how many times less than the column before. "ns/op" is the time of a whole operation where it is about a few
pages, and what each break adds where runs are found.
`

func (p *printer) header(r *Report) {
	h := r.Host
	if p.style == markdown {
		p.printf("# Measurements\n\n")
	}
	defer p.printf("\n%s", about)
	item := "%-10s %s\n"
	if p.style == markdown {
		item = "- %s: %s\n"
	}
	p.printf(item, "CPU", fmt.Sprintf("%s, %d processors, %s", h.CPU, h.CPUs, strings.Join(h.Caches, ", ")))
	p.printf(item, "level", h.Level)
	p.printf(item, "kernel", h.Kernel+", emulated: Linux "+h.Emulated)
	p.printf(item, "Go", h.Go)
	p.printf(item, "load", h.Load)
	p.printf(item, "date", h.Date)
	p.printf(item, "rounds", fmt.Sprintf("%d of %s or more for each variant; medians, quartiles in brackets", h.Rounds, h.Time))
	p.printf(item, "tables", strings.Join(h.Sets, ", ")+" of PTE tables; 256KiB map 128 MiB of memory, 1GiB maps 512 GiB")
}

func sizesOf(rows []bench.Row) (sizes []string) {
	for _, r := range rows {
		if !slices.Contains(sizes, r.Size) {
			sizes = append(sizes, r.Size)
		}
	}
	return sizes
}

// set prints the table of one size and order: a line for each of our variants, and beside it what it is compared to.
func (p *printer) set(rows []bench.Row, size string, order bench.Order) {
	lines := [][]string{{"case", "variant", "ns/PTE", "[q1", "q3]", "floor", "x floor", "scalar", "x faster", "locked", "kernel",
		"x faster", "ns/op"}}
	for _, r := range rows {
		if r.Size != size || r.Order != order || r.Kind != bench.Ours || r.Skipped != "" {
			continue
		}
		beside := func(k bench.Kind) string { return figure(best(rows, r, k)) }
		op := figure(r.NsPerOp)
		if r.NsPerBreak != 0 {
			op = fmt.Sprintf("%.1f/break", r.NsPerBreak)
		}
		lines = append(lines, []string{r.Name, r.Variant, figure(r.NsPerPTE), figure(r.Q1), figure(r.Q3), beside(bench.Floor),
			ratio(r.RatioFloor), beside(bench.Scalar), ratio(r.RatioScalar), beside(bench.Locked), beside(bench.Kernel),
			ratio(r.RatioKernel), op})
	}
	if len(lines) == 1 {
		return
	}
	p.heading(size + " of tables, " + string(order))
	p.table(lines)
}

// best returns the least time of a kind of variant of the same case.
func best(rows []bench.Row, of bench.Row, k bench.Kind) (t float64) {
	for _, r := range rows {
		if r.Name == of.Name && r.Size == of.Size && r.Order == of.Order && r.Kind == k && r.Skipped == "" && (t == 0 || r.NsPerPTE < t) {
			t = r.NsPerPTE
		}
	}
	return t
}

// figure prints a time with three digits that count; nothing for none.
func figure(ns float64) string {
	switch {
	case ns == 0:
		return "-"
	case ns < 10:
		return fmt.Sprintf("%.3f", ns)
	case ns < 100:
		return fmt.Sprintf("%.1f", ns)
	}
	return fmt.Sprintf("%.0f", ns)
}

func ratio(x float64) string {
	if x == 0 {
		return "-"
	}
	if x < 10 {
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// calls prints what the running kernel was asked to do, and to how many pages.
func (p *printer) calls(rows []bench.Row) {
	lines := [][]string{{"case", "size", "order", "call", "PTEs", "ns/PTE", "[q1", "q3]"}}
	for _, r := range rows {
		if (r.Kind == bench.Kernel || r.Kind == bench.KernelZero) && r.Skipped == "" {
			lines = append(lines, []string{r.Name, r.Size, string(r.Order), r.Note, fmt.Sprint(r.PTEs), figure(r.NsPerPTE),
				figure(r.Q1), figure(r.Q3)})
		}
	}
	if len(lines) > 1 {
		p.heading("The running kernel's calls")
		p.table(lines)
	}
}

// skipped prints what could not be measured, each reason once.
func (p *printer) skipped(rows []bench.Row) {
	lines := [][]string{{"case", "variant", "why not"}}
	seen := map[string]bool{}
	for _, r := range rows {
		key := r.Name + "\x00" + r.Variant + "\x00" + r.Skipped
		if r.Skipped != "" && !seen[key] {
			seen[key] = true
			lines = append(lines, []string{r.Name, r.Variant, r.Skipped})
		}
	}
	if len(lines) > 1 {
		p.heading("Left out")
		p.table(lines)
	}
}
