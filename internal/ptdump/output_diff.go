package ptdump

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"ptemu/arch/x86"
)

// diffWriter writes differences in one format.
type diffWriter interface {
	difference(*spaceDiff, *difference) error
	// space ends a space.
	space(*spaceDiff) error
	close() error
}

func newDiffWriter(format string, w io.Writer, c palette) diffWriter {
	switch format {
	case "json", "jsonl":
		return &jsonDiff{w: w, array: format == "json"}
	case "csv":
		return &csvDiff{w: csv.NewWriter(w)}
	}
	return &textDiff{w: w, color: c}
}

// textDiff is for people.
type textDiff struct {
	w      io.Writer
	color  palette
	title  *spaceDiff // whose title has been written
	counts [32]uint64
	spaces int
}

// spaceTitle names a space.
func spaceTitle(p *spacePair) string {
	switch {
	case p.Kernel:
		return "kernel"
	case p.Process == nil:
		return fmt.Sprintf("root %v", p.Before.Root)
	case p.Process.PID < 0:
		return fmt.Sprintf("root %v", p.Process.MM.Roots.Kernel)
	}
	return fmt.Sprintf("process %d (%s)", p.Process.PID, quoteName(p.Process.Comm))
}

func (t *textDiff) difference(s *spaceDiff, d *difference) error {
	b := []byte{}
	if t.title != s {
		t.title = s
		b = append(b, t.color.paint(t.color.bold, spaceTitle(&s.spacePair))...)
		b = append(b, '\n')
	}
	b = append(b, "  0x"...)
	b = appendHex16(b, uint64(d.VA))
	b = append(b, "-0x"...)
	b = appendHex16(b, uint64(d.VA)+d.Size)
	b = append(b, ' ')
	start := len(b)
	b = appendSize(b, d.Size)
	b = pad(b, 6-(len(b)-start))
	if d.Problem != nil {
		b = append(b, t.color.paint(t.color.bad, "! "+d.Problem.Error())...)
		_, err := t.w.Write(append(b, '\n'))
		return err
	}
	start = len(b)
	b = strconv.AppendUint(b, d.Entries, 10)
	b = pad(b, 8-(len(b)-start))
	names := strings.Join(d.Changes.names(), ",")
	on := ""
	if d.Changes&changeWritable != 0 {
		on = t.color.warn
	}
	b = append(b, on...)
	b = append(b, names...)
	b = append(b, t.color.off(on)...)
	b = pad(b, 36-len(names))
	b = append(b, "  "...)
	b = appendState(b, &d.Before)
	b = append(b, " -> "...)
	b = appendState(b, &d.After)
	_, err := t.w.Write(append(b, '\n'))
	return err
}

// appendState appends what an entry was, in short.
func appendState(b []byte, l *Leaf) []byte {
	if l.Kind == KindNone {
		return append(b, "nothing"...)
	}
	if isPage(l) {
		b = appendRights(b, l.Rights)
		b = append(b, ' ')
	}
	if l.Kind != KindPresent {
		b = append(b, l.Kind...)
		b = append(b, ' ')
	}
	if l.Level != x86.LevelPTE {
		b = append(b, l.Level.String()...)
		b = append(b, ' ')
	}
	return appendTarget(b, l)
}

func (t *textDiff) space(s *spaceDiff) error {
	if s.Event != "" {
		_, err := fmt.Fprintf(t.w, "%s: %s\n", t.color.paint(t.color.bold, spaceTitle(&s.spacePair)), s.Event)
		return err
	}
	if s.Entries == 0 {
		return nil
	}
	t.spaces++
	for i, n := range s.Counts {
		t.counts[i] += n
	}
	_, err := fmt.Fprintf(t.w, "  %s: %s\n", countOf(int(s.Entries), "entry", "entries"), countText(&s.Counts))
	return err
}

func countText(counts *[32]uint64) string {
	var parts []string
	for i, n := range changeNames {
		if counts[i] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[i], n.name))
		}
	}
	return strings.Join(parts, ", ")
}

func (t *textDiff) close() error {
	if t.spaces < 2 {
		return nil
	}
	_, err := fmt.Fprintf(t.w, "in all, in %s: %s\n", plural(t.spaces, "address space"), countText(&t.counts))
	return err
}

// The JSON form of a difference.
type diffJSON struct {
	PID     *int       `json:"pid"` // null: the kernel
	Comm    string     `json:"comm,omitempty"`
	Event   string     `json:"event,omitempty"`
	VA      string     `json:"va,omitempty"`
	End     string     `json:"end,omitempty"`
	Size    uint64     `json:"size,omitempty"`
	Entries uint64     `json:"entries,omitempty"`
	Changes []string   `json:"changes,omitempty"`
	Problem string     `json:"problem,omitempty"`
	Before  *stateJSON `json:"before,omitempty"`
	After   *stateJSON `json:"after,omitempty"`
}

type stateJSON struct {
	Kind   Kind        `json:"kind"`
	Level  string      `json:"level,omitempty"`
	Raw    string      `json:"raw,omitempty"`
	PFN    *x86.PFN    `json:"pfn,omitempty"`
	Rights *rightsJSON `json:"rights,omitempty"`
}

type rightsJSON struct {
	R bool `json:"r"`
	W bool `json:"w"`
	X bool `json:"x"`
	U bool `json:"u"`
}

func newDiffJSON(s *spaceDiff, d *difference) *diffJSON {
	o := &diffJSON{Event: s.Event}
	if s.Process != nil {
		o.PID, o.Comm = &s.Process.PID, s.Process.Comm
	}
	if d == nil {
		return o
	}
	o.VA, o.End, o.Size = hexVirt(d.VA), hexVirt(d.VA+x86.Virt(d.Size)), d.Size
	if d.Problem != nil {
		o.Problem = d.Problem.Error()
		return o
	}
	o.Entries, o.Changes = d.Entries, d.Changes.names()
	o.Before, o.After = newStateJSON(&d.Before), newStateJSON(&d.After)
	return o
}

func hexVirt(v x86.Virt) string { return "0x" + string(appendHex16(nil, uint64(v))) }

func newStateJSON(l *Leaf) *stateJSON {
	s := &stateJSON{Kind: l.Kind}
	if l.Kind == KindNone {
		return s
	}
	s.Level, s.Raw = l.Level.String(), string(appendHex16(nil, l.Raw))
	s.Rights = &rightsJSON{l.Rights.R, l.Rights.W, l.Rights.X, l.Rights.U}
	if l.HasPFN {
		pfn := l.PFN
		s.PFN = &pfn
	}
	return s
}

type jsonDiff struct {
	w     io.Writer
	array bool
	n     int
}

func (j *jsonDiff) write(o *diffJSON) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	lead := ""
	switch {
	case j.array && j.n == 0:
		lead = "[\n"
	case j.array:
		lead = ",\n"
	}
	j.n++
	tail := "\n"
	if j.array {
		tail = ""
	}
	_, err = fmt.Fprintf(j.w, "%s%s%s", lead, b, tail)
	return err
}

func (j *jsonDiff) difference(s *spaceDiff, d *difference) error { return j.write(newDiffJSON(s, d)) }

func (j *jsonDiff) space(s *spaceDiff) error {
	if s.Event == "" {
		return nil
	}
	return j.write(newDiffJSON(s, nil))
}

func (j *jsonDiff) close() error {
	if !j.array {
		return nil
	}
	end := "\n]\n"
	if j.n == 0 {
		end = "[" + end
	}
	_, err := io.WriteString(j.w, end)
	return err
}

type csvDiff struct {
	w     *csv.Writer
	begun bool
}

func (c *csvDiff) row(s *spaceDiff, d *difference) error {
	if !c.begun {
		c.begun = true
		head := []string{"pid", "comm", "event", "va", "end", "size", "entries", "changes", "problem", "before", "before_raw", "after", "after_raw"}
		if err := c.w.Write(head); err != nil {
			return err
		}
	}
	o := newDiffJSON(s, d)
	row := []string{"", o.Comm, o.Event, o.VA, o.End, "", "", strings.Join(o.Changes, "|"), o.Problem, "", "", "", ""}
	if o.PID != nil {
		row[0] = strconv.Itoa(*o.PID)
	}
	if d != nil {
		row[5], row[6] = strconv.FormatUint(o.Size, 10), strconv.FormatUint(o.Entries, 10)
	}
	for i, state := range []*stateJSON{o.Before, o.After} {
		if state != nil {
			row[9+2*i], row[10+2*i] = string(state.Kind), state.Raw
		}
	}
	return c.w.Write(row)
}

func (c *csvDiff) difference(s *spaceDiff, d *difference) error { return c.row(s, d) }

func (c *csvDiff) space(s *spaceDiff) error {
	if s.Event == "" {
		return nil
	}
	return c.row(s, nil)
}

func (c *csvDiff) close() error {
	c.w.Flush()
	return c.w.Error()
}

// changesHelp lists the kinds of changes for the help.
func changesHelp() string {
	width := 0
	for _, n := range changeNames {
		width = max(width, len(n.name))
	}
	var b strings.Builder
	for _, n := range changeNames {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, n.name, n.text)
	}
	return b.String()
}

// parseChanges reads names of changes.
func parseChanges(flag string, names []string) (set change, err error) {
	for _, name := range names {
		c, ok := changeNamed(strings.TrimSpace(name))
		if !ok {
			return 0, usagef("--%s %s: no such change: want %s", flag, name, strings.Join(changeWords(), ", "))
		}
		set |= c
	}
	return set, nil
}

func changeWords() []string {
	words := make([]string, 0, len(changeNames))
	for _, n := range changeNames {
		words = append(words, n.name)
	}
	slices.Sort(words)
	return words
}
