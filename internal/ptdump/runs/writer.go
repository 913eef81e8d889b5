package runs

import (
	"context"
	"io"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/linux"
	"ptemu/pgtable"
)

// Format renders ranges in one output format. Region is the name of the one that a range or problem lies in.
type Format interface {
	Head(dst []byte) []byte
	Tail(dst []byte) []byte
	region(dst []byte, name string) []byte
	run(dst []byte, r *Run, region string) []byte
	problem(dst []byte, p *pgtable.Problem) []byte
}

// Writer is the Sink that writes what it gets in a Format.
type Writer struct {
	ctx    context.Context
	w      io.Writer
	format Format
	buf    []byte
	Tally  *entries.Tally
	region linux.Marker
	some   bool // a region has been announced
}

// NewWriter returns a writer of f to w, which ends early when ctx does. Its Tally may be replaced before the walk.
func NewWriter(ctx context.Context, w io.Writer, f Format) *Writer {
	return &Writer{ctx: ctx, w: w, format: f, Tally: new(entries.Tally), buf: f.Head(nil)}
}

// Marker announces a region; that of the range before is not announced again.
func (o *Writer) Marker(m linux.Marker) error {
	if o.some && o.region == m {
		return nil
	}
	o.region, o.some = m, true
	o.buf = o.format.region(o.buf, m.Name)
	return nil
}

// Run writes a range.
func (o *Writer) Run(r *Run) error {
	o.Tally.Add(&r.First, r.Count)
	o.buf = o.format.run(o.buf, r, o.region.Name)
	return o.flush(report.FlushSize)
}

// Problem writes a problem at its place and counts it.
func (o *Writer) Problem(p *pgtable.Problem) error {
	if err := o.ctx.Err(); err != nil {
		return err // and this is why the table could not be read
	}
	o.Tally.Problem(p)
	o.buf = o.format.problem(o.buf, p)
	return o.flush(report.FlushSize)
}

func (o *Writer) flush(full int) error {
	if len(o.buf) < full {
		return nil
	}
	if err := o.ctx.Err(); err != nil {
		return err
	}
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}

// Close writes what is left.
func (o *Writer) Close() error {
	o.buf = o.format.Tail(o.buf)
	return o.flush(0)
}

// sharedFlags names the flags that all entries of a range share: all but A and D, which are counted.
type sharedFlags struct{ *entries.Flags }

func (f sharedFlags) append(dst []byte, r *Run) []byte {
	counted := uint64(0)
	if r.First.IsPage() {
		counted = x86.PageAccessed | x86.PageDirty | f.ABI.SavedDirtyMask()
	}
	return f.Flags.Append(dst, &r.First, counted)
}
