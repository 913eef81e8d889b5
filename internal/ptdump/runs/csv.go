package runs

import (
	"slices"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/pgtable"
)

// csvFormat writes a header and one record per range.
type csvFormat struct{ flags sharedFlags }

func newCSV(abi *x86.ABI) *csvFormat {
	return &csvFormat{sharedFlags{entries.NewFlags(abi, func(name string) string { return name + "|" })}}
}

// csvColumns are the columns of dump --format csv. Of what differs within a range, the first entry's is shown.
// Raw and entry_pa are those of a problem.
var csvColumns = slices.Concat(csvFirst, entries.CSVSwapColumns, csvLast)

var (
	csvFirst = []string{
		"va", "size", "level", "count", "region", "kind", "raw", "r", "w", "x", "u", "bits", "pfn", "scattered", "repeated",
		"accessed", "dirty", "pkey",
	}
	csvLast = []string{"entry_pa", "reserved", "invalid", "problem", "reason"}
)

func (c *csvFormat) Head(dst []byte) []byte {
	return append(append(dst, strings.Join(csvColumns, ",")...), '\n')
}

func (c *csvFormat) Tail(dst []byte) []byte             { return dst }
func (c *csvFormat) region(dst []byte, _ string) []byte { return dst }

func (c *csvFormat) run(dst []byte, r *Run, region string) []byte {
	l := &r.First
	dst = c.place(dst, l.VA, r.Size(), l.Level, r.Count)
	dst = report.AppendCSVString(dst, region)
	dst = append(dst, ',')
	dst = append(dst, l.Kind...)
	dst = append(dst, ',')
	for _, on := range [...]bool{l.Rights.R, l.Rights.W, l.Rights.X, l.Rights.U} {
		dst = report.AppendCSVBool(dst, on)
	}
	dst = append(dst, ',')
	dst = report.CloseCSVList(c.flags.append(dst, r))
	dst = append(dst, ',')
	if l.HasPFN {
		dst = strconv.AppendUint(dst, uint64(l.PFN), 10)
	}
	if _, _, ok := r.Places(); ok {
		dst = report.AppendCSVBool(dst, r.Scattered)
	} else {
		dst = append(dst, ',')
	}
	if r.Repeated() {
		dst = report.AppendCSVBool(dst, true)
	} else {
		dst = append(dst, ',')
	}
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, r.Accessed, 10)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, r.Dirty, 10)
	dst = append(dst, ',')
	if l.HasPkey() {
		dst = strconv.AppendInt(dst, int64(l.Pkey()), 10)
	}
	dst = entries.AppendCSVSwap(dst, r.shared())
	dst = append(dst, ",,"...)
	if bits := l.ReservedBits(c.flags.ABI); bits != 0 {
		dst = report.AppendHex16(dst, bits)
	}
	dst = append(dst, ',')
	dst = report.AppendCSVString(dst, c.flags.Invalid(l))
	return append(dst, ",,\n"...)
}

func (c *csvFormat) place(dst []byte, va x86.Virt, size uint64, level x86.Level, count uint64) []byte {
	dst = append(dst, "0x"...)
	dst = report.AppendHex16(dst, uint64(va))
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, size, 10)
	dst = append(dst, ',')
	dst = append(dst, level.String()...)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, count, 10)
	return append(dst, ',')
}

func (c *csvFormat) problem(dst []byte, p *pgtable.Problem) []byte {
	dst = c.place(dst, p.VA, p.Size, p.Level, p.Size/p.Level.Size())
	dst = append(dst, ",problem,"...)
	dst = report.AppendHex16(dst, p.Raw)
	for range len(csvColumns) - len(csvLast) - slices.Index(csvColumns, "raw") {
		dst = append(dst, ',')
	}
	return append(entries.AppendCSVProblem(dst, p), '\n')
}
