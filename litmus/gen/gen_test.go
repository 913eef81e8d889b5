package gen_test

import (
	"slices"
	"testing"

	"ptemu/litmus"
	"ptemu/litmus/gen"
)

// TestProgramsAreValid: what is made can be written down and read again, and is the same for the same seed.
func TestProgramsAreValid(t *testing.T) {
	for _, topic := range gen.Topics() {
		for seed := range uint64(200) {
			p := gen.Program(seed, gen.Options{Topic: topic})
			if !gen.Valid(p) {
				_, err := litmus.Parse(p.Name, p.String()+"expect a1 0 none\n")
				t.Fatalf("%s: %v\n%s", p.Name, err, p)
			}
			if again := gen.Program(seed, gen.Options{Topic: topic}); again.String() != p.String() {
				t.Fatalf("%s: two programs of one seed", p.Name)
			}
			if n := len(p.Steps); n < 24 {
				t.Fatalf("%s: %d steps", p.Name, n)
			}
		}
	}
}

// TestReduce: of a program that fails because of two of its steps, nothing is left that could go.
func TestReduce(t *testing.T) {
	has := func(p *litmus.Program, verb string) bool {
		for i := range p.Steps {
			if p.Steps[i].Op.Verb == verb {
				return true
			}
		}
		return false
	}
	bad := func(p *litmus.Program) bool { return has(p, "fork") && has(p, "swap-out") }
	found := 0
	for seed := range uint64(50) {
		p := gen.Program(seed, gen.Options{Topic: gen.Swap})
		if !bad(p) {
			continue
		}
		found++
		got := gen.Reduce(p, 10000, bad)
		if !bad(got) || !gen.Valid(got) {
			t.Errorf("%s: what is left does not fail\n%s", p.Name, got)
		}
		for i := range got.Steps {
			less := *got
			less.Steps = slices.Delete(slices.Clone(got.Steps), i, i+1)
			if gen.Valid(&less) && bad(&less) {
				t.Errorf("%s: step %d is not needed\n%s", p.Name, i, got)
			}
		}
	}
	if found == 0 {
		t.Error("no program swaps and forks")
	}
}
