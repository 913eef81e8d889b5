package ptdump

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/linux"
)

// runFormat renders ranges in one output format. Region is the name of the one that a range or problem lies in.
type runFormat interface {
	head(dst []byte) []byte
	tail(dst []byte) []byte
	region(dst []byte, name string) []byte
	run(dst []byte, r *Run, region string) []byte
	problem(dst []byte, p *Problem) []byte
}

// runWriter is the RunSink that writes what it gets in a runFormat.
type runWriter struct {
	ctx    context.Context
	w      io.Writer
	format runFormat
	buf    []byte
	tally  *tally
	region linux.Marker
	some   bool // a region has been announced
}

func newRunWriter(ctx context.Context, w io.Writer, f runFormat) *runWriter {
	return &runWriter{ctx: ctx, w: w, format: f, tally: new(tally), buf: f.head(nil)}
}

// Marker announces a region; that of the range before is not announced again.
func (o *runWriter) Marker(m linux.Marker) error {
	if o.some && o.region == m {
		return nil
	}
	o.region, o.some = m, true
	o.buf = o.format.region(o.buf, m.Name)
	return nil
}

// Run writes a range.
func (o *runWriter) Run(r *Run) error {
	if r.First.unusable() {
		o.tally.reserved += int(r.Count)
	}
	if r.First.Invalid {
		o.tally.invalid += r.Count
	}
	o.tally.swap.add(&r.First, r.Count)
	o.buf = o.format.run(o.buf, r, o.region.Name)
	return o.flush(flushSize)
}

// Problem writes a problem at its place and counts it.
func (o *runWriter) Problem(p *Problem) error {
	if err := o.ctx.Err(); err != nil {
		return err // and this is why the table could not be read
	}
	o.tally.problem(p)
	o.buf = o.format.problem(o.buf, p)
	return o.flush(flushSize)
}

func (o *runWriter) flush(full int) error {
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

func (o *runWriter) close() error {
	o.buf = o.format.tail(o.buf)
	return o.flush(0)
}

// runFlags names the flags that all entries of a range share: all but A and D, which are counted.
type runFlags struct{ *flagTable }

func (f runFlags) append(dst []byte, r *Run) []byte {
	raw := r.First.Raw
	if isPage(&r.First) {
		raw &^= x86.PageAccessed | x86.PageDirty | f.abi.SavedDirtyMask()
	}
	return f.flagTable.append(dst, r.First.Level, raw)
}

// textRuns writes a line per range, below a title per region. Ranges that repeat are folded into one line.
type textRuns struct {
	flags runFlags
	color palette
	fold  fold
}

func newTextRuns(abi *x86.ABI, color palette) *textRuns {
	flags := runFlags{newFlagTable(abi, func(name string) string { return " " + name })}
	return &textRuns{flags: flags, color: color}
}

func (t *textRuns) head(dst []byte) []byte { return dst }
func (t *textRuns) tail(dst []byte) []byte { return t.fold.release(dst, t.line) }

func (t *textRuns) region(dst []byte, name string) []byte {
	dst = t.fold.release(dst, t.line)
	t.fold.base.Count = 0
	dst = append(dst, t.color.bold...)
	dst = append(dst, "== "...)
	dst = append(dst, name...)
	dst = append(dst, t.color.off(t.color.bold)...)
	return append(dst, '\n')
}

func (t *textRuns) run(dst []byte, r *Run, _ string) []byte {
	if t.fold.hold(r) {
		return dst
	}
	dst = t.line(t.fold.release(dst, t.line), r)
	t.fold.next(r)
	return dst
}

// line writes one range.
func (t *textRuns) line(dst []byte, r *Run) []byte {
	l := &r.First
	dst = append(dst, "0x"...)
	dst = appendHex16(dst, uint64(l.VA))
	dst = append(dst, "-0x"...)
	if r.End() == 0 {
		dst = append(dst, '1') // 2^64
	}
	dst = appendHex16(dst, uint64(r.End()))
	start := len(dst)
	dst = appendSize(dst, r.Size())
	dst = alignRight(dst, start, 7)
	dst = append(dst, "  "...)
	dst = append(dst, l.Level.String()...)
	dst = append(dst, "  "...)
	color := t.color.rights(l.Rights)
	dst = append(dst, color...)
	dst = appendRights(dst, l.Rights)
	dst = append(dst, t.color.off(color)...)
	dst = append(dst, "  "...)
	color = t.color.kind(l.Kind)
	dst = append(dst, color...)
	dst = appendPadded(dst, string(l.Kind), 9)
	dst = append(dst, t.color.off(color)...)
	dst = append(dst, ' ')
	start = len(dst)
	dst = appendRunTarget(dst, r)
	dst = pad(dst, 30-(len(dst)-start))
	dst = t.flags.append(dst, r)
	if hasPkey(l) && pkeyOf(l) != 0 {
		dst = append(dst, " pkey="...)
		dst = strconv.AppendInt(dst, int64(pkeyOf(l)), 10)
	}
	dst = appendPart(dst, " accessed", r.Accessed, r.Count)
	dst = appendPart(dst, " dirty", r.Dirty, r.Count)
	if bits := reservedBits(t.flags.abi, l); bits != 0 {
		dst = append(dst, t.color.bad...)
		dst = append(dst, " reserved=0x"...)
		dst = strconv.AppendUint(dst, bits, 16)
		dst = append(dst, t.color.off(t.color.bad)...)
	}
	dst = appendTextInvalid(dst, t.color, t.flags.invalid(l))
	return endLine(dst)
}

// alignRight moves what was appended since start to the right edge of a column.
func alignRight(dst []byte, start, width int) []byte {
	n := len(dst) - start
	dst = pad(dst, width-n)
	if k := len(dst) - start - n; k > 0 {
		copy(dst[start+k:], dst[start:start+n])
		for i := range k {
			dst[start+i] = ' '
		}
	}
	return dst
}

// appendPart appends a word that holds for n of all entries: nothing if for none.
func appendPart(dst []byte, word string, n, all uint64) []byte {
	if n == 0 {
		return dst
	}
	dst = append(dst, word...)
	if n < all {
		dst = append(dst, '=')
		dst = strconv.AppendUint(dst, n, 10)
		dst = append(dst, '/')
		dst = strconv.AppendUint(dst, all, 10)
	}
	return dst
}

// appendRunTarget appends what the entries of a range point to.
func appendRunTarget(dst []byte, r *Run) []byte {
	start := len(dst)
	first, last, ok := r.Places()
	l := r.First
	l.Swap.Young, l.Swap.Dirty = false, false // these are counted
	dst = appendTarget(dst, &l)
	switch {
	case !ok || first == last:
		return dst
	case r.Scattered:
		return append(dst, ", scattered"...)
	}
	// The last number goes behind the first, before what follows that.
	number := "0x" + strconv.FormatUint(first, 16)
	at := start + bytes.LastIndex(dst[start:], []byte(number)) + len(number)
	return slices.Insert(dst, at, []byte("-0x"+strconv.FormatUint(last, 16))...)
}

func (t *textRuns) problem(dst []byte, p *Problem) []byte {
	return appendTextProblem(t.fold.release(dst, t.line), t.color, p)
}

// jsonRuns writes one object per range, on a line of its own (jsonl), or as one array (json).
type jsonRuns struct {
	jsonLeaves
	flags runFlags
}

func newJSONRuns(abi *x86.ABI, array bool) *jsonRuns {
	j := &jsonRuns{jsonLeaves: *newJSONLeaves(abi, array)}
	j.flags = runFlags{j.jsonLeaves.flags}
	return j
}

func (j *jsonRuns) region(dst []byte, _ string) []byte { return dst }

func (j *jsonRuns) run(dst []byte, r *Run, region string) []byte {
	l := &r.First
	dst = j.begin(dst)
	dst = append(dst, `{"va":"0x`...)
	dst = appendHex16(dst, uint64(l.VA))
	dst = append(dst, `","size":`...)
	dst = strconv.AppendUint(dst, r.Size(), 10)
	dst = append(dst, `,"level":"`...)
	dst = append(dst, l.Level.String()...)
	dst = append(dst, `","count":`...)
	dst = strconv.AppendUint(dst, r.Count, 10)
	dst = append(dst, `,"region":`...)
	dst = appendJSONString(dst, region)
	dst = append(dst, `,"kind":"`...)
	dst = append(dst, l.Kind...)
	dst = append(dst, '"')
	dst = appendJSONRights(dst, l.Rights)
	dst = append(dst, `,"bits":[`...)
	dst = closeList(j.flags.append(dst, r))
	if l.HasPFN {
		dst = append(dst, `,"pfn":`...)
		dst = strconv.AppendUint(dst, uint64(l.PFN), 10)
	}
	if _, _, ok := r.Places(); ok {
		dst = appendJSONBool(dst, `,"scattered":`, r.Scattered)
	}
	dst = append(dst, `,"accessed":`...)
	dst = strconv.AppendUint(dst, r.Accessed, 10)
	dst = append(dst, `,"dirty":`...)
	dst = strconv.AppendUint(dst, r.Dirty, 10)
	if hasPkey(l) {
		dst = append(dst, `,"pkey":`...)
		dst = strconv.AppendInt(dst, int64(pkeyOf(l)), 10)
	}
	if bits := reservedBits(j.flags.abi, l); bits != 0 {
		dst = append(dst, `,"reserved":"`...)
		dst = appendHex16(dst, bits)
		dst = append(dst, '"')
	}
	dst = appendJSONInvalid(dst, j.flags.invalid(l))
	if hasSwap(l) {
		first := *l
		first.Swap.Young, first.Swap.Dirty = r.Accessed == r.Count, r.Dirty == r.Count
		dst = appendJSONSwap(dst, &first)
	}
	return j.end(append(dst, '}'))
}

// csvRuns writes a header and one record per range.
type csvRuns struct{ flags runFlags }

func newCSVRuns(abi *x86.ABI) *csvRuns {
	return &csvRuns{runFlags{newFlagTable(abi, func(name string) string { return name + "|" })}}
}

// csvRunColumns are the columns of dump --format csv. Of what differs within a range, the first entry's is shown.
var csvRunColumns = []string{
	"va", "size", "level", "count", "region", "kind", "r", "w", "x", "u", "bits", "pfn", "scattered", "accessed", "dirty",
	"pkey", "swap_type", "swap_offset", "uffd_wp", "soft_dirty", "exclusive", "migration_access", "marker",
	"reserved", "invalid", "problem",
}

func (c *csvRuns) head(dst []byte) []byte {
	return append(append(dst, strings.Join(csvRunColumns, ",")...), '\n')
}

func (c *csvRuns) tail(dst []byte) []byte             { return dst }
func (c *csvRuns) region(dst []byte, _ string) []byte { return dst }

func (c *csvRuns) run(dst []byte, r *Run, region string) []byte {
	l := &r.First
	dst = c.place(dst, l.VA, r.Size(), l.Level, r.Count)
	dst = appendCSVString(dst, region)
	dst = append(dst, ',')
	dst = append(dst, l.Kind...)
	for _, on := range [...]bool{l.Rights.R, l.Rights.W, l.Rights.X, l.Rights.U} {
		dst = appendCSVBool(dst, on)
	}
	dst = append(dst, ',')
	dst = closeCSVList(c.flags.append(dst, r))
	dst = append(dst, ',')
	if l.HasPFN {
		dst = strconv.AppendUint(dst, uint64(l.PFN), 10)
	}
	if _, _, ok := r.Places(); ok {
		dst = appendCSVBool(dst, r.Scattered)
	} else {
		dst = append(dst, ',')
	}
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, r.Accessed, 10)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, r.Dirty, 10)
	dst = append(dst, ',')
	if hasPkey(l) {
		dst = strconv.AppendInt(dst, int64(pkeyOf(l)), 10)
	}
	if !hasSwap(l) {
		dst = append(dst, ",,,,,,,,"...)
		if bits := reservedBits(c.flags.abi, l); bits != 0 {
			dst = appendHex16(dst, bits)
		}
		return append(dst, ",,\n"...)
	}
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, uint64(l.Swap.Type), 10)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, swapOffset(l), 10)
	dst = appendCSVBool(dst, l.Swap.UffdWP)
	dst = appendCSVBool(dst, l.Swap.SoftDirty)
	dst = appendCSVBool(dst, l.Swap.Exclusive)
	dst = append(dst, ',')
	if l.Kind == KindMigration {
		dst = append(dst, l.Swap.Access.String()...)
	}
	dst = append(dst, ',')
	if l.Kind == KindMarker {
		dst = append(dst, l.Swap.Marker.String()...)
	}
	dst = append(dst, ",,"...)
	dst = appendCSVString(dst, c.flags.invalid(l))
	return append(dst, ",\n"...)
}

func (c *csvRuns) place(dst []byte, va x86.Virt, size uint64, level x86.Level, count uint64) []byte {
	dst = append(dst, "0x"...)
	dst = appendHex16(dst, uint64(va))
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, size, 10)
	dst = append(dst, ',')
	dst = append(dst, level.String()...)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, count, 10)
	return append(dst, ',')
}

func (c *csvRuns) problem(dst []byte, p *Problem) []byte {
	dst = c.place(dst, p.VA, p.Size, p.Level, p.Size/p.Level.Size())
	dst = append(dst, ",problem"...)
	for range len(csvRunColumns) - 6 {
		dst = append(dst, ',')
	}
	dst = appendCSVString(dst, problemText(p))
	return append(dst, '\n')
}
