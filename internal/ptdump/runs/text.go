package runs

import (
	"strconv"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/pgtable"
)

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

// textFormat writes a line per range, below a title per region. Ranges that repeat are folded into one line.
type textFormat struct {
	flags sharedFlags
	color report.Palette
	fold  fold
}

func newText(abi *x86.ABI, color report.Palette) *textFormat {
	flags := sharedFlags{entries.NewFlags(abi, func(name string) string { return " " + name })}
	return &textFormat{flags: flags, color: color}
}

func (t *textFormat) Head(dst []byte) []byte { return dst }
func (t *textFormat) Tail(dst []byte) []byte { return t.fold.release(dst, t.line) }

func (t *textFormat) region(dst []byte, name string) []byte {
	dst = t.fold.release(dst, t.line)
	t.fold.base.Count = 0
	dst = append(dst, t.color.Bold...)
	dst = append(dst, "== "...)
	dst = append(dst, name...)
	dst = append(dst, t.color.Off(t.color.Bold)...)
	return append(dst, '\n')
}

func (t *textFormat) run(dst []byte, r *Run, _ string) []byte {
	if t.fold.hold(r) {
		return dst
	}
	dst = t.line(t.fold.release(dst, t.line), r)
	t.fold.next(r)
	return dst
}

// line writes one range.
func (t *textFormat) line(dst []byte, r *Run) []byte {
	l := &r.First
	dst = append(dst, "0x"...)
	dst = report.AppendHex16(dst, uint64(l.VA))
	dst = append(dst, "-0x"...)
	if r.End() == 0 {
		dst = append(dst, '1') // 2^64
	}
	dst = report.AppendHex16(dst, uint64(r.End()))
	start := len(dst)
	dst = report.AppendSize(dst, r.Size())
	dst = report.AlignRight(dst, start, 7)
	dst = append(dst, "  "...)
	dst = append(dst, l.Level.String()...)
	dst = append(dst, "  "...)
	color := entries.RightsColor(t.color, l.Rights)
	dst = append(dst, color...)
	dst = l.Rights.Append(dst)
	dst = append(dst, t.color.Off(color)...)
	dst = append(dst, "  "...)
	color = entries.KindColor(t.color, l.Kind)
	dst = append(dst, color...)
	dst = report.AppendPadded(dst, string(l.Kind), 9)
	dst = append(dst, t.color.Off(color)...)
	dst = append(dst, ' ')
	start = len(dst)
	dst = appendRunTarget(dst, r)
	dst = report.Pad(dst, 30-(len(dst)-start))
	dst = t.flags.append(dst, r)
	if l.HasPkey() && l.Pkey() != 0 {
		dst = append(dst, " pkey="...)
		dst = strconv.AppendInt(dst, int64(l.Pkey()), 10)
	}
	dst = appendPart(dst, " accessed", r.Accessed, r.Count)
	dst = appendPart(dst, " dirty", r.Dirty, r.Count)
	if bits := l.ReservedBits(t.flags.ABI); bits != 0 {
		dst = append(dst, t.color.Bad...)
		dst = append(dst, " reserved=0x"...)
		dst = strconv.AppendUint(dst, bits, 16)
		dst = append(dst, t.color.Off(t.color.Bad)...)
	}
	dst = entries.AppendTextInvalid(dst, t.color, t.flags.Invalid(l))
	return report.EndLine(dst)
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
	l := r.First
	l.Swap.Young, l.Swap.Dirty = false, false // these are counted
	more, scattered := "", false
	switch first, last, ok := r.Places(); {
	case !ok || first == last:
	case r.Repeated():
		more = " each"
	case r.Scattered:
		scattered = true
	default:
		more = "-0x" + strconv.FormatUint(last, 16)
	}
	dst = entries.AppendTargets(dst, &l, more)
	if scattered {
		dst = append(dst, ", scattered"...)
	}
	return dst
}

func (t *textFormat) problem(dst []byte, p *pgtable.Problem) []byte {
	return entries.AppendTextProblem(t.fold.release(dst, t.line), t.color, p)
}
