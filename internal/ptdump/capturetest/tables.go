package capturetest

import (
	"ptemu/arch/x86"
	"ptemu/pgtable"
)

// TableList is a visitor that notes every table visited.
type TableList struct {
	Frames []x86.PFN
	Seen   map[x86.PFN]bool
}

func (l *TableList) Enter(t *pgtable.Table) (bool, error) {
	if !l.Seen[t.PFN] {
		l.Seen[t.PFN] = true
		l.Frames = append(l.Frames, t.PFN)
	}
	return true, nil
}
func (l *TableList) Slot(*pgtable.Table, int, pgtable.Slot) error { return nil }
func (l *TableList) PTEs(*pgtable.Table) error                    { return nil }
func (l *TableList) Leave(*pgtable.Table) error                   { return nil }
func (l *TableList) Problem(p *pgtable.Problem) error             { return p.Err }
