package ptdump

import (
	"context"
	"io"
	"strconv"

	"ptemu/arch/x86"
	"ptemu/swapentry"
)

// leafFormat renders entries and problems in one output format, by appending to a buffer: a capture has millions of
// entries, and reflection or fmt would cost more than the walk.
type leafFormat interface {
	// head and tail begin and end the output.
	head(dst []byte) []byte
	tail(dst []byte) []byte
	leaf(dst []byte, l *Leaf) []byte
	problem(dst []byte, p *Problem) []byte
}

// flushSize is how much output is collected before it is written.
const flushSize = 64 << 10

// leafWriter is the Sink that writes what it gets in a leafFormat.
type leafWriter struct {
	ctx    context.Context
	w      io.Writer
	format leafFormat
	buf    []byte
	tally  *tally
}

func newLeafWriter(ctx context.Context, w io.Writer, f leafFormat) *leafWriter {
	return &leafWriter{ctx: ctx, w: w, format: f, tally: new(tally), buf: f.head(make([]byte, 0, flushSize+4096))}
}

// Leaf writes an entry.
func (o *leafWriter) Leaf(l *Leaf) error {
	if l.unusable() {
		o.tally.reserved++
	}
	if l.Invalid {
		o.tally.invalid++
	}
	o.tally.swap.add(l, 1)
	o.buf = o.format.leaf(o.buf, l)
	return o.flushIfFull()
}

// Problem writes a problem at its place and counts it.
func (o *leafWriter) Problem(p *Problem) error {
	if err := o.ctx.Err(); err != nil {
		return err // and this is why the table could not be read
	}
	o.tally.problem(p)
	o.buf = o.format.problem(o.buf, p)
	return o.flushIfFull()
}

func (o *leafWriter) flushIfFull() error {
	if len(o.buf) < flushSize {
		return nil
	}
	if err := o.ctx.Err(); err != nil {
		return err
	}
	return o.flush()
}

func (o *leafWriter) flush() error {
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	return err
}

// close writes what is left.
func (o *leafWriter) close() error {
	o.buf = o.format.tail(o.buf)
	return o.flush()
}

// isPage reports whether the entry names a page by its frame bits (present or PROT_NONE), rather than being a swap
// form.
func isPage(l *Leaf) bool { return l.Kind == KindPresent || l.Kind == KindProtnone }

// hasSwap reports whether the entry is a swap form: it has a type and an offset.
func hasSwap(l *Leaf) bool { return !isPage(l) && l.Kind != KindUnknown }

// entryPlace returns the physical address of the entry itself.
func entryPlace(l *Leaf) x86.Phys { return l.Table + x86.Phys(8*l.Index) }

// unusable reports P without rights: a reserved bit is set, and the processor refuses every access.
func (l *Leaf) unusable() bool { return !l.Rights.R && l.Kind == KindPresent && !l.Invalidated() }

// reservedBits returns the reserved bits that are set in the entry. It has no rights then, so that most entries need
// no closer look.
func reservedBits(abi *x86.ABI, l *Leaf) uint64 {
	if l.Rights.R {
		return 0
	}
	return abi.ReservedBits(l.Level, l.Raw)
}

// pkeyOf returns the protection key bits of the entry.
func pkeyOf(l *Leaf) int { return x86.PTE(l.Raw).Pkey() }

// hasPkey reports whether the entry has a protection key: every page does, also where no processor looks at it.
func hasPkey(l *Leaf) bool { return isPage(l) }

// swapOffset returns the offset as /proc/pid/pagemap shows it.
func swapOffset(l *Leaf) uint64 { return l.Swap.PagemapOffset() }

// flagName is a flag in the form that a format needs.
type flagName struct {
	mask uint64
	text string
}

// flagTable holds the flags of every level and form, so that naming the bits of an entry needs no search.
type flagTable struct {
	abi    *x86.ABI
	layout *swapentry.Layout
	flags  [x86.LevelPGD + 1][formCount][]flagName
}

func newFlagTable(abi *x86.ABI, render func(string) string) *flagTable {
	t := &flagTable{abi: abi, layout: swapentry.NewLayout(abi)}
	for level := x86.LevelPTE; level <= x86.LevelPGD; level++ {
		for form := range formCount {
			for _, f := range abi.FlagsOf(level, form) {
				t.flags[level][form] = append(t.flags[level][form], flagName{f.Mask, render(f.Name)})
			}
		}
	}
	return t
}

// append appends the texts of the flags set in an entry.
func (t *flagTable) append(dst []byte, level x86.Level, raw uint64) []byte {
	for _, f := range t.flags[level][t.abi.FormOf(level, raw)] {
		if raw&f.mask != 0 {
			dst = append(dst, f.text...)
		}
	}
	return dst
}

// invalid says why no kernel writes an entry that is Invalid; "" of all others.
func (t *flagTable) invalid(l *Leaf) string {
	if !l.Invalid {
		return ""
	}
	return invalidText(t.layout.Check(l.Level, l.Raw))
}

// appendHex16 appends v as 16 hex digits.
func appendHex16(dst []byte, v uint64) []byte {
	const digits = "0123456789abcdef"
	var b [16]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = digits[v&15]
		v >>= 4
	}
	return append(dst, b[:]...)
}

// appendSize appends a size in the largest unit that divides it: "4K", "2M", "1G", "8T".
func appendSize(dst []byte, n uint64) []byte {
	const units = "BKMGTPE"
	u := 0
	for n != 0 && n%1024 == 0 && u+1 < len(units) {
		n /= 1024
		u++
	}
	dst = strconv.AppendUint(dst, n, 10)
	if u > 0 {
		dst = append(dst, units[u])
	}
	return dst
}

// appendPadded appends s and pads it with spaces to width.
func appendPadded(dst []byte, s string, width int) []byte {
	return pad(append(dst, s...), width-len(s))
}

func pad(dst []byte, n int) []byte {
	for ; n > 0; n-- {
		dst = append(dst, ' ')
	}
	return dst
}
