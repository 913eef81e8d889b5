package picture

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
)

// Sizes of the picture, in its own units. It has the shape of a sheet of paper, and grows if there are many regions.
const (
	svgWidth  = 1123
	svgMargin = 28
	svgNames  = 190 // where the strips begin
	svgSizes  = 118 // to the right of them
	svgStrip  = 24
	svgRow    = 44
	svgFold   = 9.0
)

// svgLook is how a kind is drawn: as in the page, so that a pattern or a letter says it where colours do not.
type svgLook struct{ color, pattern, letter string }

var svgLooks = map[tree.Kind]svgLook{
	kindRead:                 {"#56b4e9", "", ""},
	kindWrite:                {"#0072b2", "", ""},
	kindExecute:              {"#009e73", "diag", "x"},
	kindWriteExecute:         {"#d55e00", "cross", "wx"},
	kindNoAccess:             {"#aab2bb", "back", "-"},
	tree.KindProtnone:        {"#cc79a7", "horiz", "N"},
	tree.KindSwap:            {"#e69f00", "diag", "S"},
	tree.KindMigration:       {"#56b4e9", "vert", "M"},
	tree.KindMarker:          {"#f0e442", "dots", "K"},
	tree.KindDevicePrivate:   {"#009e73", "dots", "D"},
	tree.KindDeviceExclusive: {"#009e73", "grid", "E"},
	tree.KindHWPoison:        {"#d55e00", "cross", "H"},
	tree.KindSwapinError:     {"#d55e00", "back", "I"},
	tree.KindUnknown:         {"#aab2bb", "cross", "?"},
	kindNoWay:                {"#d55e00", "grid", "!"},
}

// svgKinds is the order in which kinds are drawn and listed.
var svgKinds = []tree.Kind{
	kindRead, kindWrite, kindExecute, kindWriteExecute, kindNoAccess, tree.KindProtnone, tree.KindSwap, tree.KindMigration, tree.KindMarker,
	tree.KindDevicePrivate, tree.KindDeviceExclusive, tree.KindHWPoison, tree.KindSwapinError, tree.KindUnknown, kindNoWay,
}

const svgHead = `<defs>
<pattern id="diag" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M-1 1l2-2M0 6l6-6M5 7l2-2" stroke="#000" stroke-opacity=".65"/></pattern>
<pattern id="back" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M-1 5l2 2M0 0l6 6M5-1l2 2" stroke="#000" stroke-opacity=".65"/></pattern>
<pattern id="cross" width="6" height="6" patternUnits="userSpaceOnUse"><path d="M0 0l6 6M0 6l6-6" stroke="#000" stroke-opacity=".65"/></pattern>
<pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse"><circle cx="2.5" cy="2.5" r="1" fill-opacity=".65"/></pattern>
<pattern id="horiz" width="6" height="4" patternUnits="userSpaceOnUse"><path d="M0 2h6" stroke="#000" stroke-opacity=".65"/></pattern>
<pattern id="vert" width="4" height="6" patternUnits="userSpaceOnUse"><path d="M2 0v6" stroke="#000" stroke-opacity=".65"/></pattern>
<pattern id="grid" width="5" height="5" patternUnits="userSpaceOnUse"><path d="M0 2.5h5M2.5 0v5" stroke="#000" stroke-opacity=".65"/></pattern>
</defs>
`

// SVG draws the first view of the page: the regions, what is in them, and a legend.
func (info *Info) SVG() []byte {
	d := &svgDrawing{y: svgMargin + 18}
	d.text(svgMargin, d.y, `font-size="20" font-weight="700"`, info.Title)
	for _, line := range wrapWords(strings.Join(info.Facts, " · "), 150) {
		d.y += 17
		d.text(svgMargin, d.y, `fill="#444"`, line)
	}
	d.y += 26
	d.legend(info.Rows)
	for i := range info.Rows {
		d.row(&info.Rows[i])
	}
	if len(info.Rows) == 0 {
		d.text(svgMargin, d.y+16, "", "The tables hold no entry.")
	}
	d.y += 22
	d.text(svgMargin, d.y, `fill="#444" font-size="11"`, "Widths grow with the logarithm of the size. A torn edge is a hole, folded; holes of 1 GiB and more have their size above.")
	d.y += 14

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" font-family="Helvetica, Arial, sans-serif" font-size="12" role="img">`+"\n",
		svgWidth, d.y+svgMargin, svgWidth, d.y+svgMargin)
	fmt.Fprintf(&b, "<title>%s</title>\n<desc>%s</desc>\n", xmlText(info.Title), xmlText(strings.Join(info.Facts, "; ")))
	b.WriteString(svgHead)
	fmt.Fprintf(&b, `<rect width="%d" height="%.0f" fill="#fff"/>`+"\n", svgWidth, d.y+svgMargin)
	b.Write(d.b.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

type svgDrawing struct {
	b bytes.Buffer
	y float64
}

func (d *svgDrawing) text(x, y float64, attributes, s string) {
	fmt.Fprintf(&d.b, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, attributes, xmlText(s))
}

// box draws a rectangle in the look of a kind.
func (d *svgDrawing) box(k tree.Kind, x, y, w, h float64) {
	look := svgLooks[k]
	fmt.Fprintf(&d.b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="%s"/>`, x, y, w, h, look.color)
	if look.pattern != "" {
		fmt.Fprintf(&d.b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="url(#%s)"/>`, x, y, w, h, look.pattern)
	}
}

func (d *svgDrawing) edge(x, y, w, h float64) {
	fmt.Fprintf(&d.b, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" fill="none" stroke="#000" stroke-width=".6"/>`+"\n", x, y, w, h)
}

// legend lists the kinds that occur, with their sizes.
func (d *svgDrawing) legend(rows []atlasRow) {
	total := map[tree.Kind]uint64{}
	for i := range rows {
		for j := range rows[i].Segments {
			for k, n := range rows[i].Segments[j].Bytes {
				total[k] += n
			}
		}
	}
	x := float64(svgMargin)
	for _, k := range svgKinds {
		if total[k] == 0 {
			continue
		}
		label := fmt.Sprintf("%s %s", k, sizeText(total[k]))
		width := 40 + 6.6*float64(len(label))
		if x+width > svgWidth-svgMargin {
			x, d.y = svgMargin, d.y+22
		}
		d.box(k, x, d.y-11, 22, 14)
		d.edge(x, d.y-11, 22, 14)
		if l := svgLooks[k].letter; l != "" {
			d.text(x+11, d.y, `text-anchor="middle" font-weight="700" font-size="11" stroke="#fff" stroke-width="2" paint-order="stroke"`, l)
		}
		d.text(x+27, d.y, "", label)
		x += width
	}
	d.y += 18
}

// row draws a region.
func (d *svgDrawing) row(r *atlasRow) {
	fmt.Fprintf(&d.b, `<path d="M%d %.1fH%d" stroke="#bbb"/>`+"\n", svgMargin, d.y, svgWidth-svgMargin)
	d.text(svgMargin, d.y+20, `font-weight="700"`, r.Name)
	d.text(svgMargin, d.y+34, `font-family="monospace" font-size="10.5" fill="#444"`, r.Start)
	var mapped uint64
	for i := range r.Segments {
		mapped += r.Segments[i].mapped()
	}
	right := float64(svgWidth - svgMargin)
	d.text(right, d.y+20, `text-anchor="end" font-weight="700"`, sizeText(mapped))
	d.text(right, d.y+34, `text-anchor="end" font-size="10.5" fill="#444"`, report.Plural(len(r.Segments), "part"))
	d.strip(r.Segments, d.y+14)
	d.y += svgRow
}

// strip draws the segments of a region at widths that grow with the logarithm of their size, with the holes folded.
func (d *svgDrawing) strip(s []atlasSegment, y float64) {
	const width = svgWidth - 2*svgMargin - svgNames - svgSizes
	folds, all := 0.0, 0.0
	for i := range s {
		if i > 0 && s[i].First > s[i-1].Last+1 {
			folds++
		}
		all += s[i].weight()
	}
	fold := min(svgFold, width/3/max(folds, 1))
	room := min(width-folds*fold, 26*all)
	x, labelled := float64(svgMargin+svgNames), 0.0
	for i := range s {
		if i > 0 && s[i].First > s[i-1].Last+1 {
			d.fold(x, y, fold)
			gap := uint64(s[i].First - s[i-1].Last - 1)
			if text := sizeText(gap); gap >= 1<<30 && x > labelled {
				d.text(x+fold/2, y-3, `text-anchor="middle" font-size="8.5" fill="#444"`, text)
				labelled = x + 5*float64(len(text))
			}
			x += fold
		}
		w := room * s[i].weight() / all
		d.segment(&s[i], x, y, w)
		x += w
	}
}

// segment draws shares of kinds, one above the other, so that a small one is still seen.
func (d *svgDrawing) segment(s *atlasSegment, x, y, w float64) {
	total := 0.0
	for _, n := range s.Bytes {
		total += math.Sqrt(float64(n))
	}
	top := y
	for _, k := range svgKinds {
		if n := s.Bytes[k]; n > 0 {
			h := svgStrip * math.Sqrt(float64(n)) / total
			d.box(k, x, top, w, h)
			top += h
		}
	}
	fmt.Fprintf(&d.b, `<g><title>%s</title>`, xmlText(fmt.Sprintf("%v-%v %s", s.First, s.Last, sizeText(s.total()))))
	d.edge(x, y, w, svgStrip)
	d.b.WriteString("</g>\n")
}

// fold draws the sign of a hole.
func (d *svgDrawing) fold(x, y, w float64) {
	at := x + w/2 - 1
	fmt.Fprintf(&d.b, `<path d="M%.1f %.1fl2 4l-2 4l2 4l-2 4" fill="none" stroke="#444"/>`, at, y+4)
}

// xmlText escapes text, and replaces what XML cannot hold.
func xmlText(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(strings.ToValidUTF8(s, "\uFFFD"))); err != nil {
		panic(err) // a Builder does not fail
	}
	return b.String()
}

// wrapWords breaks a line between words.
func wrapWords(s string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(s) {
		if n := len(lines); n > 0 && len(lines[n-1])+1+len(word) <= width {
			lines[n-1] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// sizeText is a size to read: "1.4 MiB".
func sizeText(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v, u := float64(n), 0
	for v >= 1023.5 && u+1 < len(units) {
		v, u = v/1024, u+1
	}
	if v < 10 && v != math.Trunc(v) {
		return fmt.Sprintf("%.1f %s", v, units[u])
	}
	return fmt.Sprintf("%.0f %s", v, units[u])
}
