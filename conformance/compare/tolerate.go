package compare

import "slices"

// tolerance is a difference that is known, and why it is none.
type tolerance struct {
	name, reason string
	covers       func(s *Step, a, b string) bool
}

// tolerances are all differences that are passed over, each counted by its name: none at present.
var tolerances []tolerance

// Tolerances returns the names of what is passed over, each with its reason.
func Tolerances() (lines []string) {
	for _, t := range tolerances {
		lines = append(lines, t.name+": "+t.reason)
	}
	slices.Sort(lines)
	return lines
}

// tolerated reports that two ends of a step are known to differ, and counts it.
func (c *comparer) tolerated(s *Step, a, b string) bool {
	for _, t := range tolerances {
		if t.covers(s, a, b) {
			c.passed[t.name]++
			return true
		}
	}
	return false
}
