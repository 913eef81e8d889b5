package where

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ptemu/internal/ptdump/tree"
)

// ParseKinds reads names of kinds, as --kind has them. Like those of --where they may be in capitals, with _ for -.
func ParseKinds(names []string) (map[tree.Kind]bool, error) {
	kinds := map[tree.Kind]bool{}
	for _, name := range names {
		kind := tree.Kind(canonical(strings.TrimSpace(name)))
		if !slices.Contains(Kinds, kind) {
			var all []string
			for _, k := range Kinds {
				all = append(all, string(k))
			}
			return nil, fmt.Errorf("--kind %q: want %s", clip(name), strings.Join(all, ", "))
		}
		kinds[kind] = true
	}
	if len(kinds) == 0 {
		return nil, errors.New("--kind: no kind is named")
	}
	return kinds, nil
}

// canonical is how names are written: in lower case, with hyphens.
func canonical(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }
