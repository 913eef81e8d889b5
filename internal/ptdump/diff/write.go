package diff

import (
	"context"
	"encoding/csv"
	"io"

	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/space"
)

// Output says where differences go.
type Output struct {
	W      io.Writer
	Format string
	Colors report.Palette
}

// Write compares and writes. Spaces are compared in parallel and written in order; single entries are written as they come.
// Changed says that something was written: a difference, or a part that could not be compared.
func Write(ctx context.Context, to Output, pairs []Pair, opt Options, with space.Workers) (changed bool, err error) {
	out := newWriter(to.Format, to.W, to.Colors)
	results := make([]*spaceDiff, len(pairs))
	if opt.Entries {
		with.Jobs = 1
	}
	err = with.Each(ctx, "comparing", len(pairs), func(i int) (err error) {
		results[i], err = pairs[i].diff(ctx, opt, out.difference)
		if err == nil && opt.Entries {
			err = out.space(results[i])
		}
		return err
	})
	if err != nil {
		return false, err
	}
	for _, r := range results {
		if r.Entries > 0 || r.Problems > 0 || r.Event != "" {
			changed = true
		}
		if opt.Entries {
			continue
		}
		for i := range r.Differences {
			if err := out.difference(r, &r.Differences[i]); err != nil {
				return changed, err
			}
		}
		if err := out.space(r); err != nil {
			return changed, err
		}
	}
	return changed, out.close()
}

// writer writes differences in one format.
type writer interface {
	difference(*spaceDiff, *difference) error
	// space ends a space.
	space(*spaceDiff) error
	close() error
}

func newWriter(format string, w io.Writer, c report.Palette) writer {
	switch format {
	case "json", "jsonl":
		return &jsonDiff{w: w, array: format == "json"}
	case "csv":
		return &csvDiff{w: csv.NewWriter(w)}
	}
	return &textDiff{w: w, color: c}
}
