package ps

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/entries"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
	"ptemu/pgtable"
)

// In returns the lines in one of the formats; smaps says that text is to look like /proc/PID/smaps.
func (m *Areas) In(lines []*Line, format string, smaps bool, c report.Palette) ([]byte, error) {
	switch format {
	case "json", "jsonl":
		return m.json(lines, format == "json")
	case "csv":
		return m.csv(lines), nil
	}
	if smaps {
		return m.smaps(lines, c), nil
	}
	return m.text(lines, c), nil
}

// text renders the lines for people.
func (m *Areas) text(lines []*Line, c report.Palette) []byte {
	t := report.NewTable(c,
		"START-END", ">SIZE", "PERMS", "PROT", ">RESIDENT", ">SWAPPED", ">HUGE", ">DIRTY", ">UFFD-WP", ">SOFT-DIRTY",
		"ENTRIES", "NAME")
	_ = m.byAddress(lines,
		func(l *Line) error { t.Add(l.cells()...); return nil },
		func(p *pgtable.Problem) error {
			row := make([]string, t.Columns())
			row[0] = fmt.Sprintf("! %012x-%012x", uint64(p.VA), uint64(p.VA)+p.Size)
			row[len(row)-1] = tree.ProblemText(p)
			t.Add(row...)
			return nil
		})
	return t.Append(nil)
}

func (l *Line) cells() []string {
	perms, prot, name := l.Perms, l.Prot, report.QuoteName(l.Name)
	if l.Kind == "stray" {
		perms, prot, name = "", "", "! entries outside of any area"
	}
	cells := []string{
		fmt.Sprintf("%012x-%012x", uint64(l.first), uint64(l.end)), string(report.AppendSize(nil, l.Size)), perms, prot,
	}
	for _, n := range []uint64{l.Resident, l.Swapped, l.Huge, l.Dirty, l.UffdWP, l.SoftDirty} {
		cells = append(cells, strconv.FormatUint(n, 10))
	}
	rights := strings.Join(l.EntryRights, ",")
	for _, other := range []struct {
		name string
		n    uint64
	}{
		{"protnone", l.Protnone}, {"migration", l.Migration}, {"device", l.Device}, {"hwpoison", l.HWPoison},
		{"markers", l.Markers}, {"other", l.Other},
	} {
		if other.n > 0 {
			rights += fmt.Sprintf(" %s=%d", other.name, other.n)
		}
	}
	if l.Excess != "" {
		rights += " !+" + l.Excess
	}
	return append(cells, strings.TrimSpace(rights), name)
}

// smaps renders the lines in blocks, as /proc/PID/smaps does; what only the kernel's own counters know is missing.
func (m *Areas) smaps(lines []*Line, c report.Palette) []byte {
	var dst []byte
	_ = m.byAddress(lines, func(l *Line) error {
		dst = l.smaps(dst)
		return nil
	}, func(p *pgtable.Problem) error {
		dst = entries.AppendTextProblem(dst, c, p)
		return nil
	})
	return dst
}

func (l *Line) smaps(dst []byte) []byte {
	dev := l.Dev
	if dev == "" {
		dev = "00:00"
	}
	perms, name := l.Perms, report.QuoteName(l.Name)
	if l.Kind == "stray" {
		perms, name = "----", "! entries outside of any area"
	}
	start := len(dst)
	dst = fmt.Appendf(dst, "%08x-%08x %s %08x %s %d ", uint64(l.first), uint64(l.end), perms, l.Offset, dev, l.Inode)
	if name != "" {
		dst = append(report.Pad(dst, 72-(len(dst)-start)), name...)
	}
	dst = append(dst, '\n')
	for _, f := range []struct {
		name string
		n    uint64
	}{
		{"Size", l.Size / x86.PageSize}, {"Rss", l.Rss}, {"Swap", l.Swapped}, {"Dirty", l.Dirty}, {"Accessed", l.Accessed},
		{"Huge", l.Huge}, {"Writable", l.Writable}, {"ProtNone", l.Protnone}, {"UffdWP", l.UffdWP}, {"SoftDirty", l.SoftDirty},
	} {
		dst = report.AppendPadded(dst, f.name+":", 16)
		dst = fmt.Appendf(dst, "%8d kB\n", f.n*(x86.PageSize/1024))
	}
	dst = report.AppendPadded(dst, "Entries:", 16)
	dst = append(append(dst, strings.Join(l.EntryRights, " ")...), '\n')
	dst = append(dst, "VmFlags: "...)
	return append(append(dst, strings.Join(l.Flags, " ")...), '\n')
}

// json renders the lines as objects, each on a line of its own.
func (m *Areas) json(lines []*Line, array bool) ([]byte, error) {
	j := report.JSONList{Array: array}
	dst := j.Head(nil)
	err := m.byAddress(lines, func(l *Line) error {
		b, err := json.Marshal(l)
		dst = j.End(append(j.Begin(dst), b...))
		return err
	}, func(p *pgtable.Problem) error {
		dst = j.End(entries.AppendJSONProblem(j.Begin(dst), p))
		return nil
	})
	return j.Tail(dst), err
}

// csv renders the lines as records.
func (m *Areas) csv(lines []*Line) []byte {
	dst := []byte("pid,kind,start,end,size,perms,flags,vm_flags,prot,page_prot,offset,dev,inode,name,anon")
	for _, c := range figures {
		dst = append(append(dst, ','), c.name...)
	}
	dst = append(dst, ",rss,entry_rights,excess,problem\n"...)
	_ = m.byAddress(lines, func(l *Line) error {
		dst = l.csv(dst)
		return nil
	}, func(p *pgtable.Problem) error {
		dst = fmt.Appendf(dst, ",problem,%v,%v,%d", p.VA, p.VA+x86.Virt(p.Size), p.Size)
		for range 14 + len(figures) {
			dst = append(dst, ',')
		}
		dst = append(report.AppendCSVString(dst, tree.ProblemText(p)), '\n')
		return nil
	})
	return dst
}

func (l *Line) csv(dst []byte) []byte {
	dst = fmt.Appendf(dst, "%d,%s,%s,%s,%d,%s,%s,%s,%s,%s,%d,%s,%d,", l.PID, l.Kind, l.Start, l.End, l.Size, l.Perms,
		strings.Join(l.Flags, "|"), l.VMFlags, l.Prot, l.PageProt, l.Offset, l.Dev, l.Inode)
	dst = report.AppendCSVString(dst, report.QuoteName(l.Name))
	dst = report.AppendCSVBool(dst, l.Anon)
	dst = appendCSVCounts(dst, l.Counts)
	return fmt.Appendf(dst, ",%d,%s,%s,\n", l.Rss, strings.Join(l.EntryRights, "|"), l.Excess)
}
