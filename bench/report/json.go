package main

import (
	"encoding/json"
	"io"
)

// writeJSON writes the host and the rows.
func (r *Report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
