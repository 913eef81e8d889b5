package entries

import (
	"strconv"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
)

// textFormat writes one aligned line per entry, for people. A problem is a line that begins with "!".
type textFormat struct {
	flags *Flags
	color report.Palette
}

func newText(abi *x86.ABI, color report.Palette) *textFormat {
	return &textFormat{NewFlags(abi, func(name string) string { return " " + name }), color}
}

const textLeafHead = "VA                  LEVEL SIZE RIGHTS RAW               KIND             POINTS TO                    FLAGS\n"

func (t *textFormat) Head(dst []byte) []byte {
	dst = append(dst, t.color.Dim...)
	dst = append(dst, textLeafHead[:len(textLeafHead)-1]...)
	dst = append(dst, t.color.Off(t.color.Dim)...)
	return append(dst, '\n')
}

func (t *textFormat) Tail(dst []byte) []byte { return dst }

func (t *textFormat) leaf(dst []byte, l *tree.Leaf) []byte {
	dst = append(dst, "0x"...)
	dst = report.AppendHex16(dst, uint64(l.VA))
	dst = append(dst, "  "...)
	dst = report.AppendPadded(dst, l.Level.String(), 6)
	start := len(dst)
	dst = report.AppendSize(dst, l.Level.Size())
	dst = report.Pad(dst, 5-(len(dst)-start))
	color := RightsColor(t.color, l.Rights)
	dst = append(dst, color...)
	dst = l.Rights.Append(dst)
	dst = append(dst, t.color.Off(color)...)
	dst = append(dst, "   "...)
	dst = report.AppendHex16(dst, l.Raw)
	dst = append(dst, "  "...)
	color = KindColor(t.color, l.Kind)
	dst = append(dst, color...)
	dst = report.AppendPadded(dst, string(l.Kind), 17)
	dst = append(dst, t.color.Off(color)...)
	start = len(dst)
	dst = AppendTarget(dst, l)
	dst = report.Pad(dst, 28-(len(dst)-start))
	dst = t.flags.Append(dst, l, 0)
	if l.HasPkey() && l.Pkey() != 0 {
		dst = append(dst, " pkey="...)
		dst = strconv.AppendInt(dst, int64(l.Pkey()), 10)
	}
	if r := l.ReservedBits(t.flags.ABI); r != 0 {
		dst = append(dst, ' ')
		dst = append(dst, t.color.Bad...)
		dst = append(dst, "reserved=0x"...)
		dst = strconv.AppendUint(dst, r, 16)
		dst = append(dst, t.color.Off(t.color.Bad)...)
	}
	dst = AppendTextInvalid(dst, t.color, t.flags.Invalid(l))
	return report.EndLine(dst)
}

// AppendTextInvalid appends why no kernel writes the entry, if that is so.
func AppendTextInvalid(dst []byte, c report.Palette, why string) []byte {
	if why == "" {
		return dst
	}
	dst = append(dst, c.Bad...)
	dst = append(dst, " invalid: "...)
	dst = append(dst, why...)
	return append(dst, c.Off(c.Bad)...)
}

func (t *textFormat) problem(dst []byte, p *pgtable.Problem) []byte {
	return AppendTextProblem(dst, t.color, p)
}

// AppendTextProblem appends the line that stands in the output where a part of the address space could not be
// explained.
func AppendTextProblem(dst []byte, c report.Palette, p *pgtable.Problem) []byte {
	dst = append(dst, c.Bad...)
	dst = append(dst, "! 0x"...)
	dst = report.AppendHex16(dst, uint64(p.VA))
	dst = append(dst, ' ')
	dst = append(dst, p.Level.String()...)
	dst = append(dst, ' ')
	dst = report.AppendSize(dst, p.Size)
	dst = append(dst, "  "...)
	dst = append(dst, tree.ProblemText(p)...)
	dst = append(dst, " (entry "...)
	dst = report.AppendHex16(dst, p.Raw)
	dst = append(dst, " at "...)
	dst = append(dst, p.Entry.String()...)
	dst = append(dst, ')')
	dst = append(dst, c.Off(c.Bad)...)
	return append(dst, '\n')
}
