package litmus_test

import (
	"testing"

	"ptemu/litmus"
)

// TestCorpus: every test passes on every release, and under the historic policies that it names.
func TestCorpus(t *testing.T) {
	all, err := litmus.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("there is no corpus")
	}
	for _, p := range all {
		t.Run(p.Name, func(t *testing.T) {
			passed := 0
			for _, on := range p.Runs() {
				r, err := litmus.Emulate(p, on)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range r.Failures {
					t.Errorf("on %s: %v", r.On(), &f)
				}
				if r.Verdict == litmus.Pass {
					passed++
				}
			}
			if passed == 0 && !t.Failed() {
				t.Error("no kernel has what the test needs")
			}
		})
	}
}
