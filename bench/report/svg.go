package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"ptemu/bench"
)

// series is what the plot shows of each case, from the palette of Okabe and Ito, which the colour-blind can tell apart;
// the shapes differ too.
type series struct {
	label, colour, shape string
	kind                 bench.Kind
	level                string // of Ours
}

var plotted = []series{
	{"floor", "#000000", "bar", bench.Floor, ""},
	{"AVX-512", "#0072b2", "circle", bench.Ours, "avx512"},
	{"AVX2", "#56b4e9", "circle", bench.Ours, "avx2"},
	{"generic Go", "#009e73", "diamond", bench.Ours, "generic"},
	{"plain Go loop", "#e69f00", "square", bench.Scalar, ""},
	{"entry by entry, locked", "#cc79a7", "square", bench.Locked, ""},
	{"running kernel", "#d55e00", "triangle", bench.Kernel, ""},
}

// The plot's measures, in pixels.
const (
	plotLeft   = 330
	plotWidth  = 760
	plotRight  = 40
	lineHeight = 18
	headHeight = 96
	footHeight = 60
)

// plot draws times on a logarithmic axis.
type plot struct {
	strings.Builder
	low, high float64 // powers of ten
}

// writeSVG draws a line for each case, size and order, and on it a mark for each way to do it.
func (r *Report) writeSVG(w io.Writer) error {
	p := &plot{low: -2, high: 3}
	p.scale(r.Rows)
	groups := groupsOf(r.Rows)
	height := headHeight + footHeight
	for _, g := range groups {
		height += (len(g.names) + 2) * lineHeight
	}
	width := plotLeft + plotWidth + plotRight
	p.put(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`,
		width, height, width, height)
	p.put(`<rect width="%d" height="%d" fill="#ffffff"/>`, width, height)
	p.text(plotLeft+plotWidth/2, 26, "middle", 18, "#000000", "Time for one page-table entry")
	p.text(plotLeft+plotWidth/2, 46, "middle", 12, "#444444",
		fmt.Sprintf("%s, %s, %s, %s", r.Host.CPU, r.Host.Kernel, r.Host.Go, r.Host.Date))
	p.legend()
	p.axis(height - footHeight)
	y := headHeight
	for _, g := range groups {
		y += lineHeight
		p.text(10, y+4, "start", 13, "#000000", g.title())
		for _, name := range g.names {
			y += lineHeight
			p.line(r.Rows, g, name, y)
		}
		y += lineHeight
	}
	p.put(`</svg>`)
	_, err := io.WriteString(w, p.String())
	return err
}

func (p *plot) put(format string, args ...any) {
	fmt.Fprintf(p, format, args...)
	p.WriteByte('\n')
}

func (p *plot) text(x, y int, anchor string, size int, colour, s string) {
	p.put(`<text x="%d" y="%d" text-anchor="%s" font-size="%d" fill="%s">%s</text>`, x, y, anchor, size, colour, escaped(s))
}

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}

// scale widens the axis so that all times are on it.
func (p *plot) scale(rows []bench.Row) {
	for _, r := range rows {
		if r.Skipped == "" && r.NsPerPTE > 0 {
			p.low = min(p.low, math.Floor(math.Log10(r.NsPerPTE)))
			p.high = max(p.high, math.Ceil(math.Log10(r.NsPerPTE)))
		}
	}
}

// x returns where a time is on the axis.
func (p *plot) x(ns float64) float64 {
	return plotLeft + (math.Log10(ns)-p.low)/(p.high-p.low)*plotWidth
}

func (p *plot) axis(bottom int) {
	for e := p.low; e <= p.high; e++ {
		x := p.x(math.Pow(10, e))
		p.put(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#cccccc"/>`, x, headHeight, x, bottom)
		p.text(int(x), bottom+18, "middle", 12, "#000000", fmt.Sprintf("%g", math.Pow(10, e)))
	}
	p.text(plotLeft+plotWidth/2, bottom+42, "middle", 13, "#000000", "nanoseconds per entry (logarithmic); less is better")
}

func (p *plot) legend() {
	x := plotLeft - 120
	for _, s := range plotted {
		p.mark(s, float64(x), headHeight-24)
		p.text(x+10, headHeight-20, "start", 12, "#000000", s.label)
		x += 40 + 7*len(s.label)
	}
}

// mark draws the shape of a series.
func (p *plot) mark(s series, x float64, y int) {
	fy := float64(y)
	switch s.shape {
	case "bar":
		p.put(`<rect x="%.1f" y="%.1f" width="3" height="14" fill="%s"/>`, x-1.5, fy-7, s.colour)
	case "circle":
		p.put(`<circle cx="%.1f" cy="%.1f" r="5" fill="%s"/>`, x, fy, s.colour)
	case "square":
		p.put(`<rect x="%.1f" y="%.1f" width="8" height="8" fill="%s"/>`, x-4, fy-4, s.colour)
	case "diamond":
		p.put(`<path d="M%.1f %.1f l5 5 l-5 5 l-5 -5 z" fill="%s"/>`, x, fy-5, s.colour)
	case "triangle":
		p.put(`<path d="M%.1f %.1f l5.5 10 h-11 z" fill="%s"/>`, x, fy-5, s.colour)
	}
}

// group is the cases of one size and order.
type group struct {
	size  string
	order bench.Order
	names []string
}

func (g *group) title() string { return g.size + " of tables, " + string(g.order) }

func groupsOf(rows []bench.Row) (groups []*group) {
	for _, r := range rows {
		i := slices.IndexFunc(groups, func(g *group) bool { return g.size == r.Size && g.order == r.Order })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{size: r.Size, order: r.Order})
		}
		if g := groups[i]; !slices.Contains(g.names, r.Name) {
			g.names = append(g.names, r.Name)
		}
	}
	return groups
}

// line draws one case: a thread from its least to its greatest time, and the marks.
func (p *plot) line(rows []bench.Row, g *group, name string, y int) {
	p.text(plotLeft-12, y+4, "end", 12, "#000000", name)
	of := bench.Row{Name: name, Size: g.size, Order: g.order}
	var times [7]float64
	least, most := math.Inf(1), 0.0
	for i, s := range plotted {
		if times[i] = s.time(rows, of); times[i] > 0 {
			least, most = min(least, times[i]), max(most, times[i])
		}
	}
	if most > 0 {
		p.put(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#dddddd"/>`, p.x(least), y, p.x(most), y)
	}
	for i, s := range plotted {
		if times[i] > 0 {
			p.mark(s, p.x(times[i]), y)
		}
	}
}

// time returns the time of the series in a case, 0 if there is none.
func (s *series) time(rows []bench.Row, of bench.Row) float64 {
	if s.kind != bench.Ours {
		return best(rows, of, s.kind)
	}
	for _, r := range rows {
		if r.Name == of.Name && r.Size == of.Size && r.Order == of.Order && r.Kind == s.kind && r.Level == s.level && r.Skipped == "" {
			return r.NsPerPTE
		}
	}
	return 0
}
