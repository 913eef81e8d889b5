package ptdump

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// text renders the lines for people.
func (m *areaMap) text(lines []*mapLine, c palette) []byte {
	t := textTable{color: c, columns: []tableColumn{
		{"START-END", false}, {"SIZE", true}, {"PERMS", false}, {"PROT", false}, {"RESIDENT", true}, {"SWAPPED", true},
		{"HUGE", true}, {"DIRTY", true}, {"UFFD-WP", true}, {"SOFT-DIRTY", true}, {"ENTRIES", false}, {"NAME", false},
	}}
	_ = m.byAddress(lines,
		func(l *mapLine) error { t.add(l.cells()...); return nil },
		func(p *Problem) error {
			row := make([]string, len(t.columns))
			row[0] = fmt.Sprintf("! %012x-%012x", uint64(p.VA), uint64(p.VA)+p.Size)
			row[len(row)-1] = problemText(p)
			t.add(row...)
			return nil
		})
	return t.append(nil)
}

func (l *mapLine) cells() []string {
	perms, prot, name := l.Perms, l.Prot, quoteName(l.Name)
	if l.Kind == "stray" {
		perms, prot, name = "", "", "! entries outside of any area"
	}
	cells := []string{
		fmt.Sprintf("%012x-%012x", uint64(l.first), uint64(l.end)), string(appendSize(nil, l.Size)), perms, prot,
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
func (m *areaMap) smaps(lines []*mapLine, c palette) []byte {
	var dst []byte
	_ = m.byAddress(lines, func(l *mapLine) error {
		dst = l.smaps(dst)
		return nil
	}, func(p *Problem) error {
		dst = appendTextProblem(dst, c, p)
		return nil
	})
	return dst
}

func (l *mapLine) smaps(dst []byte) []byte {
	dev := l.Dev
	if dev == "" {
		dev = "00:00"
	}
	perms, name := l.Perms, quoteName(l.Name)
	if l.Kind == "stray" {
		perms, name = "----", "! entries outside of any area"
	}
	start := len(dst)
	dst = fmt.Appendf(dst, "%08x-%08x %s %08x %s %d ", uint64(l.first), uint64(l.end), perms, l.Offset, dev, l.Inode)
	if name != "" {
		dst = append(pad(dst, 72-(len(dst)-start)), name...)
	}
	dst = append(dst, '\n')
	for _, f := range []struct {
		name string
		n    uint64
	}{
		{"Size", l.Size / x86.PageSize}, {"Rss", l.Rss}, {"Swap", l.Swapped}, {"Dirty", l.Dirty}, {"Accessed", l.Accessed},
		{"Huge", l.Huge}, {"Writable", l.Writable}, {"ProtNone", l.Protnone}, {"UffdWP", l.UffdWP}, {"SoftDirty", l.SoftDirty},
	} {
		dst = appendPadded(dst, f.name+":", 16)
		dst = fmt.Appendf(dst, "%8d kB\n", f.n*(x86.PageSize/1024))
	}
	dst = appendPadded(dst, "Entries:", 16)
	dst = append(append(dst, strings.Join(l.EntryRights, " ")...), '\n')
	dst = append(dst, "VmFlags: "...)
	return append(append(dst, strings.Join(l.Flags, " ")...), '\n')
}

// json renders the lines as objects, each on a line of its own.
func (m *areaMap) json(lines []*mapLine, array bool) ([]byte, error) {
	j := jsonLeaves{array: array}
	dst := j.head(nil)
	err := m.byAddress(lines, func(l *mapLine) error {
		b, err := json.Marshal(l)
		dst = j.end(append(j.begin(dst), b...))
		return err
	}, func(p *Problem) error {
		dst = j.problem(dst, p)
		return nil
	})
	return j.tail(dst), err
}

// csv renders the lines as records.
func (m *areaMap) csv(lines []*mapLine) []byte {
	dst := []byte("pid,kind,start,end,size,perms,flags,vm_flags,prot,page_prot,offset,dev,inode,name,anon")
	for _, c := range countColumns {
		dst = append(append(dst, ','), c.name...)
	}
	dst = append(dst, ",rss,entry_rights,excess,problem\n"...)
	_ = m.byAddress(lines, func(l *mapLine) error {
		dst = l.csv(dst)
		return nil
	}, func(p *Problem) error {
		dst = fmt.Appendf(dst, ",problem,%v,%v,%d", p.VA, p.VA+x86.Virt(p.Size), p.Size)
		for range 14 + len(countColumns) {
			dst = append(dst, ',')
		}
		dst = append(appendCSVString(dst, problemText(p)), '\n')
		return nil
	})
	return dst
}

func (l *mapLine) csv(dst []byte) []byte {
	dst = fmt.Appendf(dst, "%d,%s,%s,%s,%d,%s,%s,%s,%s,%s,%d,%s,%d,", l.PID, l.Kind, l.Start, l.End, l.Size, l.Perms,
		strings.Join(l.Flags, "|"), l.VMFlags, l.Prot, l.PageProt, l.Offset, l.Dev, l.Inode)
	dst = appendCSVString(dst, quoteName(l.Name))
	dst = appendCSVBool(dst, l.Anon)
	dst = appendCSVCounts(dst, l.counts)
	return fmt.Appendf(dst, ",%d,%s,%s,\n", l.Rss, strings.Join(l.EntryRights, "|"), l.Excess)
}
