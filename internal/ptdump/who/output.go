package who

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"ptemu/internal/ptdump/report"
)

// Write writes the answers in one of the formats.
func Write(w io.Writer, format string, c report.Palette, answers []*Answer) error {
	var b []byte
	var err error
	switch format {
	case "json", "jsonl":
		b, err = jsonOf(answers, format == "json")
	case "csv":
		b = csvOf(answers)
	default:
		b = textOf(answers, c)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

func jsonOf(answers []*Answer, array bool) ([]byte, error) {
	j := report.JSONList{Array: array}
	dst := j.Head(nil)
	add := func(v any) error {
		b, err := json.Marshal(v)
		dst = j.End(append(j.Begin(dst), b...))
		return err
	}
	for _, a := range answers {
		if err := add(&a.about); err != nil {
			return nil, err
		}
		for _, p := range a.places {
			if err := add(p); err != nil {
				return nil, err
			}
		}
	}
	return j.Tail(dst), nil
}

func textOf(answers []*Answer, c report.Palette) []byte {
	var dst []byte
	for i, a := range answers {
		if i > 0 {
			dst = append(dst, '\n')
		}
		dst = append(dst, c.Paint(c.Bold, a.about.text())...)
		dst = append(dst, '\n')
		if len(a.places) == 0 {
			continue
		}
		t := report.NewTable(c,
			">PID", "COMM", "VA", ">SIZE", "LEVEL", "RIGHTS", "KIND", "ENTRY", "WHERE", "FLAGS")
		for _, p := range a.places {
			t.Add(p.cells(a.about.Count > 1)...)
		}
		dst = t.Append(dst)
	}
	return dst
}

// cells is the place as text; numbered says that it must say of which frame or slot it is.
func (p *place) cells(numbered bool) []string {
	pid := "-"
	if p.PID != nil {
		pid = strconv.Itoa(*p.PID)
	} else if p.Region == "" {
		pid = "?"
	}
	where := p.Region
	if p.hit.notPresent() && p.hit.inKernelHalf() {
		where = "taken out of " + where
	}
	if p.Area != nil {
		where = strings.TrimSpace(p.Area.Perms + " " + report.QuoteName(p.Area.Name))
	}
	flags := strings.Join(p.Bits, " ")
	switch {
	case p.Kind == "table":
		where = strings.TrimSpace("table for " + string(report.AppendSize(nil, p.hit.level.Span())) + " from there " + where)
	case p.Kind == "root":
		where = strings.TrimSpace("root table " + where)
	case p.stray:
		where = "! outside of any known area"
	case p.Swap != nil && p.Swap.Access != "":
		flags += " " + p.Swap.Access
	}
	if p.hit.notPresent() && p.hit.inKernelHalf() {
		flags = "not present " + flags
	}
	if numbered && p.hit.kind != kindTable {
		name := "pfn"
		if p.hit.device != noDevice {
			name = "slot"
		}
		flags = name + " " + numbers(p.hit.number, p.hit.pages) + " " + flags
	}
	rights := ""
	if p.Right != nil {
		rights = p.hit.rights.String()
	}
	return []string{
		pid, report.QuoteName(p.Comm), p.VA, string(report.AppendSize(nil, p.Size)), p.Level, rights, p.Kind, p.EntryPA, where, strings.TrimSpace(flags),
	}
}

func csvOf(answers []*Answer) []byte {
	dst := []byte("target,kind,pa,pfn,size,pid,comm,va,level,r,w,x,u,bits,raw,entry_pa,region,area_start,area_end,area_perms," +
		"area_name,swap_type,swap_offset,swap_uffd_wp,swap_soft_dirty,swap_exclusive,swap_access,swap_write," +
		"device,offset,count,in_ram,content,mappings,not_present,processes,tables\n")
	for _, a := range answers {
		dst = a.about.csv(dst)
		for _, p := range a.places {
			dst = p.csv(dst)
		}
	}
	return dst
}

// csv is the record of the target itself. Of places, the columns that only it has are empty.
func (a *about) csv(dst []byte) []byte {
	number := func(n *uint64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatUint(*n, 10)
	}
	device := ""
	if a.Device != nil {
		device = strconv.Itoa(int(*a.Device))
	}
	dst = append(report.AppendCSVString(dst, a.Target), ',')
	dst = fmt.Appendf(dst, "%s,%s,%s%s", a.Kind, a.PA, number(a.PFN), strings.Repeat(",", 25))
	return fmt.Appendf(dst, "%s,%s,%d,%d,%s,%d,%d,%d,%d\n", device, number(a.Offset), a.Count, a.InRAM, a.Content,
		a.Mappings, a.NotPresent, a.Processes, a.Tables)
}

func (p *place) csv(dst []byte) []byte {
	dst = append(report.AppendCSVString(dst, p.Target), ',')
	pfn, pid := "", ""
	if p.PFN != nil {
		pfn = strconv.FormatUint(*p.PFN, 10)
	}
	if p.PID != nil {
		pid = strconv.Itoa(*p.PID)
	}
	dst = fmt.Appendf(dst, "%s,%s,%s,%d,%s,", p.Kind, p.PA, pfn, p.Size, pid)
	dst = report.AppendCSVString(dst, report.QuoteName(p.Comm))
	dst = fmt.Appendf(dst, ",%s,%s", p.VA, p.Level)
	if p.Right == nil {
		dst = append(dst, ",,,,"...)
	} else {
		for _, on := range [...]bool{p.Right.R, p.Right.W, p.Right.X, p.Right.U} {
			dst = report.AppendCSVBool(dst, on)
		}
	}
	dst = fmt.Appendf(dst, ",%s,%s,%s,%s,", strings.Join(p.Bits, "|"), p.Raw, p.EntryPA, p.Region)
	a := p.Area
	if a == nil {
		a = &areaJSON{}
	}
	dst = fmt.Appendf(dst, "%s,%s,%s,", a.Start, a.End, a.Perms)
	dst = report.AppendCSVString(dst, report.QuoteName(a.Name))
	const ofTarget = ",,,,,,,,,\n"
	s := p.Swap
	if s == nil {
		return append(dst, ",,,,,,,"+ofTarget...)
	}
	dst = fmt.Appendf(dst, ",%d,%d", s.Type, s.Offset)
	for _, on := range [...]bool{s.UffdWP, s.SoftDirty, s.Exclusive} {
		dst = report.AppendCSVBool(dst, on)
	}
	dst = fmt.Appendf(dst, ",%s", s.Access)
	if s.Write == nil {
		dst = append(dst, ',')
	} else {
		dst = report.AppendCSVBool(dst, *s.Write)
	}
	return append(dst, ofTarget...)
}
