package entries

import (
	"slices"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
)

// csvFormat writes a header and one record per entry. A problem is a record of the kind "problem".
type csvFormat struct{ flags *Flags }

func newCSV(abi *x86.ABI) *csvFormat {
	return &csvFormat{NewFlags(abi, func(name string) string { return name + "|" })}
}

// csvColumns are the columns of entries --format csv. Lists are joined with "|"; what an entry does not have is
// empty; rights and other truth values are 0 or 1.
var csvColumns = slices.Concat(csvFirst, CSVSwapColumns, csvLast)

var (
	csvFirst = []string{"va", "level", "size", "raw", "kind", "pfn", "r", "w", "x", "u", "pkey", "bits"}
	csvLast  = []string{"entry_pa", "reserved", "invalid", "problem", "reason"}
)

// CSVSwapColumns are those of a swap form, as [AppendCSVSwap] fills them.
var CSVSwapColumns = []string{
	"swap_type", "swap_offset", "swap_uffd_wp", "swap_soft_dirty", "swap_exclusive",
	"migration_access", "migration_young", "migration_dirty", "device_write", "marker",
}

func (c *csvFormat) Head(dst []byte) []byte {
	return append(append(dst, strings.Join(csvColumns, ",")...), '\n')
}

func (c *csvFormat) Tail(dst []byte) []byte { return dst }

// appendCSVPlace appends the columns that entries and problems share.
func appendCSVPlace(dst []byte, va x86.Virt, level x86.Level, size, raw uint64, kind string) []byte {
	dst = append(dst, "0x"...)
	dst = report.AppendHex16(dst, uint64(va))
	dst = append(dst, ',')
	dst = append(dst, level.String()...)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, size, 10)
	dst = append(dst, ',')
	dst = report.AppendHex16(dst, raw)
	dst = append(dst, ',')
	dst = append(dst, kind...)
	return append(dst, ',')
}

func (c *csvFormat) leaf(dst []byte, l *tree.Leaf) []byte {
	dst = appendCSVPlace(dst, l.VA, l.Level, l.Level.Size(), l.Raw, string(l.Kind))
	if l.HasPFN {
		dst = strconv.AppendUint(dst, uint64(l.PFN), 10)
	}
	for _, on := range [...]bool{l.Rights.R, l.Rights.W, l.Rights.X, l.Rights.U} {
		dst = report.AppendCSVBool(dst, on)
	}
	dst = append(dst, ',')
	if l.HasPkey() {
		dst = strconv.AppendInt(dst, int64(l.Pkey()), 10)
	}
	dst = append(dst, ',')
	dst = report.CloseCSVList(c.flags.Append(dst, l, 0))
	dst = AppendCSVSwap(dst, l)
	dst = append(dst, ",0x"...)
	dst = strconv.AppendUint(dst, uint64(l.Place()), 16)
	dst = append(dst, ',')
	if r := l.ReservedBits(c.flags.ABI); r != 0 {
		dst = report.AppendHex16(dst, r)
	}
	dst = append(dst, ',')
	dst = report.AppendCSVString(dst, c.flags.Invalid(l))
	return append(dst, ",,\n"...)
}

// AppendCSVSwap appends the columns of a swap form, with a comma before each; of a page they are empty.
func AppendCSVSwap(dst []byte, l *tree.Leaf) []byte {
	if !l.HasSwap() {
		return appendCommas(dst, len(CSVSwapColumns))
	}
	s := &l.Swap
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, uint64(s.Type), 10)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, l.SwapOffset(), 10)
	dst = report.AppendCSVBool(dst, s.UffdWP)
	dst = report.AppendCSVBool(dst, s.SoftDirty)
	dst = report.AppendCSVBool(dst, s.Exclusive)
	dst = append(dst, ',')
	if l.Kind == tree.KindMigration {
		dst = append(dst, s.Access.String()...)
		dst = report.AppendCSVBool(dst, s.Young)
		dst = report.AppendCSVBool(dst, s.Dirty)
	} else {
		dst = appendCommas(dst, 2)
	}
	if l.Kind == tree.KindDevicePrivate || l.Kind == tree.KindDeviceExclusive {
		dst = report.AppendCSVBool(dst, s.Write)
	} else {
		dst = append(dst, ',')
	}
	dst = append(dst, ',')
	if l.Kind == tree.KindMarker {
		dst = append(dst, s.Marker.String()...)
	}
	return dst
}

func (c *csvFormat) problem(dst []byte, p *pgtable.Problem) []byte {
	dst = appendCSVPlace(dst, p.VA, p.Level, p.Size, p.Raw, "problem")
	dst = appendCommas(dst, len(csvColumns)-len(csvLast)-slices.Index(csvColumns, "pfn"))
	return append(AppendCSVProblem(dst, p), '\n')
}

// AppendCSVProblem appends the columns that end the record of a problem: where the entry is, what is wrong with it, and the
// reason.
func AppendCSVProblem(dst []byte, p *pgtable.Problem) []byte {
	dst = append(dst, "0x"...)
	dst = strconv.AppendUint(dst, uint64(p.Entry), 16)
	dst = append(dst, ",,,"...)
	dst = report.AppendCSVString(dst, tree.ProblemText(p))
	dst = append(dst, ',')
	return append(dst, tree.ProblemReason(p)...)
}

func appendCommas(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, ',')
	}
	return dst
}
