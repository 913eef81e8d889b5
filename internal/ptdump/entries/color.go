package entries

import (
	"ptemu/internal/ptdump/report"
	"ptemu/internal/ptdump/tree"
)

// RightsColor chooses the colour of rights: what is writable and executable at once stands out.
func RightsColor(c report.Palette, r tree.Rights) string {
	if r.W && r.X {
		return c.Bad
	}
	return ""
}

// KindColor chooses the colour of a kind.
func KindColor(c report.Palette, k tree.Kind) string {
	switch k {
	case tree.KindPresent:
		return ""
	case tree.KindHWPoison, tree.KindSwapinError:
		return c.Bad
	case tree.KindMarker, tree.KindMigration:
		return c.Odd
	}
	return c.Warn
}
