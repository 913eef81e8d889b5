package compare

import (
	"fmt"

	"ptemu/litmus"
)

// Litmus returns the program as a litmus file that expects what the record says: how each operation ended, and what stands
// in the places of the differences.
func (r *Record) Litmus(differences []Difference) *litmus.Program {
	p := *r.Program
	p.Steps = nil
	for i := range r.Steps {
		s := *r.Steps[i].Line
		if r.Steps[i].Did {
			s.Faults, s.Fails = r.Steps[i].Outcome.Faults, r.Steps[i].Outcome.Errno
		}
		p.Steps = append(p.Steps, s)
		if len(differences) > 0 && differences[0].Step == i {
			break
		}
	}
	for _, d := range differences {
		if d.Row < 0 {
			continue
		}
		row := &r.Steps[d.Step].Entries[d.Row]
		e := row.Entries[d.Page]
		item := litmus.Item{Name: "value", Num: e.Raw}
		if e.Raw == 0 {
			item = litmus.Item{Name: "none"}
		}
		p.Steps = append(p.Steps, litmus.Step{
			CPU: litmus.NoCPU, Process: row.Process, Items: []litmus.Item{item},
			Op: litmus.Op{Verb: "expect", At: litmus.Pages{Region: row.Region, First: d.Page, Last: d.Page}},
		})
	}
	p.Title = fmt.Sprintf("%s; seen on a running kernel", p.Title)
	return &p
}
