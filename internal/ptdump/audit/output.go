package audit

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
)

// row is an object of the JSON output of ptdump audit. Its form is stable.
type row struct {
	Kind     string `json:"kind"` // finding, not-run, dropped or note
	Rule     string `json:"rule,omitempty"`
	Severity string `json:"severity,omitempty"`
	Text     string `json:"text,omitempty"`
	// Explained says why the finding is as it should be.
	Explained string `json:"explained,omitempty"`
	rowPlace
	Size   uint64     `json:"size,omitempty"`
	Count  uint64     `json:"count,omitempty"`
	PFN    *uint64    `json:"pfn,omitempty"`
	Region string     `json:"region,omitempty"`
	Others []rowPlace `json:"others,omitempty"`
	More   int        `json:"others_more,omitempty"`
	Why    string     `json:"why,omitempty"` // of what was not run
}

type rowPlace struct {
	Space string `json:"space,omitempty"`
	PIDs  []int  `json:"pids,omitempty"`
	Comm  string `json:"comm,omitempty"`
	VA    string `json:"va,omitempty"`
	Level string `json:"level,omitempty"`
	Raw   string `json:"raw,omitempty"`
	Entry string `json:"entry_pa,omitempty"`
}

func (p *place) row(size uint64) rowPlace {
	r := rowPlace{Space: p.Space.name, PIDs: p.Space.pids()}
	if r.Space == "" {
		r.Space, r.Comm = "process", p.Space.Procs[0].Comm
	}
	if len(r.PIDs) > 0 && r.PIDs[0] < 0 {
		r.Space, r.PIDs = p.Space.who(), nil
	}
	if size != 0 {
		r.VA = p.VA.String()
	}
	if p.Level != 0 {
		r.Level, r.Raw, r.Entry = levelName(p.Level), fmt.Sprintf("%016x", p.Raw), fmt.Sprintf("%#x", uint64(p.Entry))
	}
	return r
}

// levelName names the level of an entry; above the root, what holds its address is CR3.
func levelName(l x86.Level) string {
	if l > x86.LevelPGD {
		return "cr3"
	}
	return l.String()
}

// rows are all objects of the output.
func (r *Report) rows() []row {
	rows := []row{}
	for _, f := range r.Findings {
		place := f.place.row(f.Size)
		row := row{
			Kind: "finding", Rule: f.Rule.String(), Severity: f.Severity.String(), Text: f.Text, Explained: f.Explained, rowPlace: place,
			Size: f.Size, Count: f.Count, Region: f.Region, More: f.OthersMore,
		}
		if f.HasPFN {
			n := uint64(f.PFN)
			row.PFN = &n
		}
		for i := range f.Others {
			row.Others = append(row.Others, f.Others[i].row(1))
		}
		rows = append(rows, row)
	}
	for id := range ruleCount {
		if n := r.Dropped[id]; n > 0 {
			rows = append(rows, row{Kind: "dropped", Rule: id.String(), Count: n, Text: "more findings that are not listed"})
		}
	}
	for _, n := range r.NotRun {
		rows = append(rows, row{Kind: "not-run", Rule: n.Rule.String(), Why: n.Why})
	}
	for _, n := range r.Notes {
		rows = append(rows, row{Kind: "note", Text: n})
	}
	return rows
}

// In renders the report in a format.
func (r *Report) In(format string, c report.Palette) ([]byte, error) {
	switch format {
	case "json":
		b, err := json.MarshalIndent(r.rows(), "", " ")
		return append(b, '\n'), err
	case "jsonl":
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		for _, row := range r.rows() {
			if err := enc.Encode(row); err != nil {
				return nil, err
			}
		}
		return b.Bytes(), nil
	case "csv":
		return r.csv()
	}
	return r.text(c), nil
}

func (r *Report) csv() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write([]string{
		"kind", "rule", "severity", "space", "pids", "comm", "region", "va", "size", "count", "level", "raw", "entry_pa", "pfn", "text", "explained", "why",
	})
	for _, row := range r.rows() {
		p := row.rowPlace
		var pids []string
		for _, n := range p.PIDs {
			pids = append(pids, strconv.Itoa(n))
		}
		pfn := ""
		if row.PFN != nil {
			pfn = strconv.FormatUint(*row.PFN, 10)
		}
		_ = w.Write([]string{
			row.Kind, row.Rule, row.Severity, p.Space, strings.Join(pids, "|"), p.Comm, row.Region, p.VA, number(row.Size), number(row.Count),
			p.Level, p.Raw, p.Entry, pfn, row.Text, row.Explained, row.Why,
		})
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// number is a figure, empty where there is none.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// text renders the findings for people; what was not run is said on stderr.
func (r *Report) text(c report.Palette) []byte {
	var b bytes.Buffer
	for _, f := range r.Findings {
		color := map[severity]string{sevError: c.Bad, sevWarning: c.Warn, sevNote: c.Dim}[f.Severity]
		fmt.Fprintf(&b, "%s %s", c.Paint(color, fmt.Sprintf("%-7s", f.Severity)), c.Paint(c.Bold, f.Rule.String()))
		if f.Size != 0 {
			fmt.Fprintf(&b, "  %s-%s  %s", f.VA, f.VA+x86.Virt(f.Size), report.AppendSize(nil, f.Size))
			if f.Level != 0 {
				fmt.Fprintf(&b, "  %s", levelName(f.Level))
			}
		}
		fmt.Fprintf(&b, "  %s", f.Space.who())
		if f.Region != "" {
			fmt.Fprintf(&b, ", %s", f.Region)
		}
		fmt.Fprintf(&b, "\n        %s%s\n", f.Text, f.details())
		for i := range f.Others {
			fmt.Fprintf(&b, "        also %s\n", f.Others[i].text())
		}
		if f.OthersMore > 0 {
			fmt.Fprintf(&b, "        and %s\n", report.Count(f.OthersMore, "more place", "more places"))
		}
		if f.Explained != "" {
			fmt.Fprintf(&b, "        explained: %s\n", f.Explained)
		}
	}
	return b.Bytes()
}

// details says which entries, how many, and where they are.
func (f *finding) details() string {
	if f.Level == 0 {
		return ""
	}
	text := ""
	if f.Count > 1 {
		text = fmt.Sprintf("; %d entries, the first", f.Count)
	} else {
		text = "; entry"
	}
	text += fmt.Sprintf(" %016x at %#x", f.Raw, uint64(f.Entry))
	if f.HasPFN {
		text += fmt.Sprintf(", frame %#x", uint64(f.PFN))
	}
	return text
}

func (p *place) text() string {
	return fmt.Sprintf("%s of %s", p.VA, p.Space.who())
}

// Summarize says what the findings come to, and which rules were not run.
func (r *Report) Summarize(w io.Writer) {
	var n [3]int
	explained := 0
	for _, f := range r.Findings {
		if f.Explained != "" {
			explained++
			continue
		}
		n[f.Severity]++
	}
	fmt.Fprintf(w, "ptdump: %s: %s, %s, %s, and %d explained\n", report.Count(r.Spaces, "address space", "address spaces"),
		report.Plural(n[sevError], "error"), report.Plural(n[sevWarning], "warning"), report.Plural(n[sevNote], "note"), explained)
	for id := range ruleCount {
		if n := r.Dropped[id]; n > 0 {
			fmt.Fprintf(w, "ptdump: %s: %d more entries that are not listed\n", id, n)
		}
	}
	var why []string
	rules := map[string][]string{}
	for _, x := range r.NotRun {
		if rules[x.Why] == nil {
			why = append(why, x.Why)
		}
		rules[x.Why] = append(rules[x.Why], x.Rule.String())
	}
	for _, reason := range why {
		fmt.Fprintf(w, "ptdump: not run: %s: %s\n", strings.Join(rules[reason], ", "), reason)
	}
	for _, t := range r.Notes {
		fmt.Fprintf(w, "ptdump: note: %s\n", t)
	}
}
