package entries

import (
	"context"
	"io"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
)

// Format renders entries and problems in one output format, by appending to a buffer: a capture has millions of
// entries, and reflection or fmt would cost more than the walk. [NewFormat] makes one.
type Format interface {
	// Head and tail begin and end the output.
	Head(dst []byte) []byte
	Tail(dst []byte) []byte
	leaf(dst []byte, l *tree.Leaf) []byte
	problem(dst []byte, p *pgtable.Problem) []byte
}

// NewFormat returns the format of that name: json, jsonl or csv; any other is text, in color.
func NewFormat(name string, abi *x86.ABI, color report.Palette) Format {
	switch name {
	case "json", "jsonl":
		return newJSON(abi, name == "json")
	case "csv":
		return newCSV(abi)
	}
	return newText(abi, color)
}

// Writer is the Sink that writes what it gets in a Format.
type Writer struct {
	ctx    context.Context
	w      io.Writer
	format Format
	buf    []byte
	Tally  *Tally
}

// NewWriter returns a writer of f to w, which ends early when ctx does. Its Tally may be replaced before the walk.
func NewWriter(ctx context.Context, w io.Writer, f Format) *Writer {
	return &Writer{ctx: ctx, w: w, format: f, Tally: new(Tally), buf: f.Head(make([]byte, 0, report.FlushSize+4096))}
}

// Leaf writes an entry.
func (o *Writer) Leaf(l *tree.Leaf) error {
	o.Tally.Add(l, 1)
	o.buf = o.format.leaf(o.buf, l)
	return o.flushIfFull()
}

// Problem writes a problem at its place and counts it.
func (o *Writer) Problem(p *pgtable.Problem) error {
	if err := o.ctx.Err(); err != nil {
		return err // and this is why the table could not be read
	}
	o.Tally.Problem(p)
	o.buf = o.format.problem(o.buf, p)
	return o.flushIfFull()
}

func (o *Writer) flushIfFull() error {
	if len(o.buf) < report.FlushSize {
		return nil
	}
	if err := o.ctx.Err(); err != nil {
		return err
	}
	return o.flush()
}

func (o *Writer) flush() error {
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}

// Close writes what is left.
func (o *Writer) Close() error {
	o.buf = o.format.Tail(o.buf)
	return o.flush()
}

// flagForms is the number of forms that an entry can have.
const flagForms = x86.FormRoot + 1
