package ptdump

import (
	"slices"
	"unicode/utf8"
)

// textTable is rows of text in columns as wide as they have to be.
type textTable struct {
	columns []tableColumn
	rows    [][]string
	color   palette
}

// tableColumn is a column: its title, and whether it is aligned to the right, as numbers are.
type tableColumn struct {
	title string
	right bool
}

// add adds a row, a cell for each column.
func (t *textTable) add(cells ...string) { t.rows = append(t.rows, cells) }

// append appends the whole table, title first.
func (t *textTable) append(dst []byte) []byte {
	width := make([]int, len(t.columns))
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	for _, row := range append(slices.Clone(t.rows), titles) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	dst = append(dst, t.color.dim...)
	dst = t.row(dst, titles, width)
	dst = append(dst[:len(dst)-1], t.color.off(t.color.dim)...)
	dst = append(dst, '\n')
	for _, row := range t.rows {
		dst = t.row(dst, row, width)
	}
	return dst
}

func (t *textTable) row(dst []byte, cells []string, width []int) []byte {
	for i, cell := range cells {
		if i > 0 {
			dst = append(dst, "  "...)
		}
		fill := width[i] - utf8.RuneCountInString(cell)
		if t.columns[i].right {
			dst = append(pad(dst, fill), cell...)
		} else {
			dst = pad(append(dst, cell...), fill)
		}
	}
	return endLine(dst)
}
