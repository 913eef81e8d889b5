package gen

import (
	"slices"

	"ptemu/litmus"
)

// Reduce removes steps as long as bad says that the program still fails, and returns what is left. bad is asked only
// about programs whose names exist. The budget is how often it may be asked.
func Reduce(p *litmus.Program, budget int, bad func(*litmus.Program) bool) *litmus.Program {
	for n := (len(p.Steps) + 1) / 2; n > 0; n /= 2 {
		for again := true; again; {
			again = false
			for i := len(p.Steps) - n; i >= 0; i -= n {
				try := *p
				try.Steps = slices.Delete(slices.Clone(p.Steps), i, i+n)
				if len(try.Steps) == 0 || !Valid(&try) {
					continue
				}
				if budget--; budget < 0 {
					return p
				}
				if bad(&try) {
					p, again = &try, true
					i = min(i, len(p.Steps))
				}
			}
		}
	}
	return p
}

// Valid reports whether all that the program names exists where it is named.
func Valid(p *litmus.Program) bool {
	for i := range p.Steps {
		if op := &p.Steps[i].Op; op.Verb == "map" {
			_, err := litmus.Parse(p.Name, p.String()+"expect "+op.Name+" 0 !none\n")
			return err == nil
		}
	}
	return false
}
