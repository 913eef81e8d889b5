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

// TestFiveLevels: every test passes beyond what four levels reach, too, unless it says that it is about four.
func TestFiveLevels(t *testing.T) {
	all, err := litmus.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	const five = 5
	beyond := 0
	for _, p := range all {
		p = p.WithLevels(five)
		for _, span := range p.Places() {
			if span.VA>>47 != 0 {
				beyond++
			}
		}
		for _, on := range p.Runs() {
			r, err := litmus.Emulate(p, on)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Failures {
				t.Errorf("%s on %s: %v", p.Name, r.On(), &f)
			}
		}
	}
	if beyond < len(all) {
		t.Errorf("%d regions of %d tests are beyond what four levels reach", beyond, len(all))
	}
}
