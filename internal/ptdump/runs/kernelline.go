package runs

import (
	"fmt"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/pgtable"
)

func (k *kernelVisitor) note(n *note) error {
	k.memo.Add(n)
	switch {
	case k.state == lineNone:
		k.begin(n.va)
	case k.state == lineGap:
		if n.va >= k.due() {
			k.nextMarker()
		}
	case n.same(&k.line) && n.va < k.due():
		return nil
	default:
		k.end(n.va)
		if n.va >= k.due() {
			k.nextMarker()
		}
	}
	k.line, k.state = *n, lineOpen
	return k.flush(report.FlushSize)
}

// begin prints the marker of the first note. The kernel always starts at address 0, with the first marker.
func (k *kernelVisitor) begin(va x86.Virt) {
	for va >= k.due() {
		k.marker++
	}
	k.title()
}

func (k *kernelVisitor) title() {
	if k.marker < len(k.markers) {
		k.buf = fmt.Appendf(k.buf, "---[ %s ]---\n", k.markers[k.marker].Name)
	}
}

// nextMarker prints how many lines were left out since the last marker, and the next one. A jump over several
// markers prints one; the others follow, each at the next note.
func (k *kernelVisitor) nextMarker() {
	if most := k.mostLines(); most != 0 && k.lines > most {
		entries := "ies"
		if k.lines == most+1 {
			entries = "y"
		}
		k.buf = fmt.Appendf(k.buf, "... %d entr%s skipped ... \n", k.lines-most, entries)
	}
	k.marker++
	k.lines = 0
	k.title()
}

func (k *kernelVisitor) mostLines() int {
	if k.marker < len(k.markers) {
		return k.markers[k.marker].MaxLines
	}
	return 0
}

// end prints the open line, which ends before the address to.
func (k *kernelVisitor) end(to x86.Virt) {
	k.lines++
	if most := k.mostLines(); most != 0 && k.lines > most {
		return
	}
	const units = "BKMGTPE"
	size, unit := uint64(to-k.line.va), 0
	for size%1024 == 0 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	k.buf = fmt.Appendf(k.buf, "0x%016x-0x%016x   %9d%c ", uint64(k.line.va), uint64(to), size, units[unit])
	k.buf = k.appendProt(k.buf)
	k.buf = append(k.buf, k.levelName()...)
	k.buf = append(k.buf, '\n')
}

// levelName returns the name of the open line's level. With four levels the root's is "pgd": that is the level
// that the folded ones count as.
func (k *kernelVisitor) levelName() string {
	if k.line.level == k.abi.Paging().Root() {
		return x86.LevelPGD.String()
	}
	return k.line.level.String()
}

// appendProt appends the eight columns of the open line's flags.
func (k *kernelVisitor) appendProt(dst []byte) []byte {
	if k.line.prot&x86.PagePresent == 0 {
		return report.Pad(dst, len("USR RW PWT PCD PSE PAT GLB NX "))
	}
	pse, pat := uint64(x86.PagePSE), uint64(0)
	if k.line.level == x86.LevelPTE {
		pse, pat = 0, x86.PagePAT
	}
	for _, c := range [...]struct {
		mask    uint64
		on, off string
	}{
		{x86.PageUser, "USR ", "    "},
		{x86.PageRW, "RW ", "ro "},
		{x86.PagePWT, "PWT ", "    "},
		{x86.PagePCD, "PCD ", "    "},
		{pse, "PSE ", "    "},
		{pat, "PAT ", "    "},
		{x86.PageGlobal, "GLB ", "    "},
		{x86.PageNX, "NX ", "x  "},
	} {
		if k.line.prot&c.mask != 0 {
			dst = append(dst, c.on...)
		} else {
			dst = append(dst, c.off...)
		}
	}
	return dst
}

// Problem prints what could not be read in its place.
func (k *kernelVisitor) Problem(p *pgtable.Problem) error {
	k.memo.Spoil()
	switch k.state {
	case lineNone:
		k.begin(p.VA)
	case lineOpen:
		k.end(p.VA)
	}
	for p.VA >= k.due() {
		k.nextMarker()
	}
	k.state = lineGap
	k.buf = append(k.buf, '#', ' ')
	k.buf = entries.AppendTextProblem(k.buf, report.Palette{}, p)
	return k.flush(report.FlushSize)
}

// finish ends the output: the walk went up to the address before end, or to the end of the user half if that is
// beyond it and not yet in the kernel half.
func (k *kernelVisitor) finish(end x86.Virt) error {
	if p := k.abi.Paging(); !p.Canonical(end - 1) {
		end = 1 << (p.VirtBits() - 1)
	}
	if k.state == lineOpen {
		k.end(end)
	}
	return k.flush(0)
}

// flush writes what has been printed, if it is more than so many bytes.
func (k *kernelVisitor) flush(more int) error {
	if len(k.buf) <= more {
		return nil
	}
	_, err := k.w.Write(k.buf)
	k.buf = k.buf[:0]
	return err
}
