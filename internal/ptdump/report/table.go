package report

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Table is rows of text in columns as wide as they have to be.
type Table struct {
	titles []string
	right  []bool // aligned to the right, as numbers are
	rows   [][]string
	color  Palette
}

// NewTable returns an empty table with these columns. The title of one that is aligned to the right begins with ">",
// which is not printed.
func NewTable(color Palette, columns ...string) *Table {
	t := &Table{color: color}
	for _, c := range columns {
		title, right := strings.CutPrefix(c, ">")
		t.titles, t.right = append(t.titles, title), append(t.right, right)
	}
	return t
}

// Add adds a row, a cell for each column.
func (t *Table) Add(cells ...string) { t.rows = append(t.rows, cells) }

// Append appends the whole table, title first.
func (t *Table) Append(dst []byte) []byte {
	width := make([]int, len(t.titles))
	for _, row := range append(slices.Clone(t.rows), t.titles) {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	dst = append(dst, t.color.Dim...)
	dst = t.row(dst, t.titles, width)
	dst = append(dst[:len(dst)-1], t.color.Off(t.color.Dim)...)
	dst = append(dst, '\n')
	for _, row := range t.rows {
		dst = t.row(dst, row, width)
	}
	return dst
}

func (t *Table) row(dst []byte, cells []string, width []int) []byte {
	for i, cell := range cells {
		if i > 0 {
			dst = append(dst, "  "...)
		}
		fill := width[i] - utf8.RuneCountInString(cell)
		if t.right[i] {
			dst = append(Pad(dst, fill), cell...)
		} else {
			dst = Pad(append(dst, cell...), fill)
		}
	}
	return EndLine(dst)
}

// Columns returns how many columns the table has.
func (t *Table) Columns() int { return len(t.titles) }
