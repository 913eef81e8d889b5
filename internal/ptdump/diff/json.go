package diff

import (
	"encoding/json"
	"fmt"
	"io"

	"ptemu/arch/x86"
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
)

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
	Kind   tree.Kind    `json:"kind"`
	Level  string       `json:"level,omitempty"`
	Raw    string       `json:"raw,omitempty"`
	PFN    *x86.PFN     `json:"pfn,omitempty"`
	Rights *tree.Rights `json:"rights,omitempty"`
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

func hexVirt(v x86.Virt) string { return "0x" + string(report.AppendHex16(nil, uint64(v))) }

func newStateJSON(l *tree.Leaf) *stateJSON {
	s := &stateJSON{Kind: l.Kind}
	if l.Kind == tree.KindNone {
		return s
	}
	s.Level, s.Raw = l.Level.String(), string(report.AppendHex16(nil, l.Raw))
	rights := l.Rights
	s.Rights = &rights
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
