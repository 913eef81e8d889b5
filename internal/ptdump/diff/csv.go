package diff

import (
	"encoding/csv"
	"strconv"
	"strings"
)

type csvDiff struct {
	w     *csv.Writer
	begun bool
}

func (c *csvDiff) row(s *spaceDiff, d *difference) error {
	if !c.begun {
		c.begun = true
		head := []string{"pid", "comm", "event", "va", "end", "size", "entries", "changes", "problem"}
		for _, of := range [...]string{"before_", "after_"} {
			for _, name := range [...]string{"kind", "level", "raw", "pfn", "r", "w", "x", "u"} {
				head = append(head, of+name)
			}
		}
		if err := c.w.Write(head); err != nil {
			return err
		}
	}
	o := newDiffJSON(s, d)
	row := []string{"", o.Comm, o.Event, o.VA, o.End, "", "", strings.Join(o.Changes, "|"), o.Problem}
	if o.PID != nil {
		row[0] = strconv.Itoa(*o.PID)
	}
	if d != nil {
		row[5] = strconv.FormatUint(o.Size, 10)
		if d.Problem == nil {
			row[6] = strconv.FormatUint(o.Entries, 10)
		}
	}
	return c.w.Write(append(append(row, stateColumns(o.Before)...), stateColumns(o.After)...))
}

// stateColumns are the columns of what an entry was.
func stateColumns(s *stateJSON) []string {
	columns := make([]string, 8)
	if s == nil {
		return columns
	}
	columns[0], columns[1], columns[2] = string(s.Kind), s.Level, s.Raw
	if s.PFN != nil {
		columns[3] = strconv.FormatUint(uint64(*s.PFN), 10)
	}
	if s.Rights == nil {
		return columns
	}
	for i, on := range [...]bool{s.Rights.R, s.Rights.W, s.Rights.X, s.Rights.U} {
		columns[4+i] = "0"
		if on {
			columns[4+i] = "1"
		}
	}
	return columns
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
