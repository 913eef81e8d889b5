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
