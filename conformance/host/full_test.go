//go:build conformance && linux && amd64

package host

import (
	"os"
	"strconv"
	"testing"

	"ptemu/litmus"
)

// TestCorpus runs every test of the corpus that can run here.
func TestCorpus(t *testing.T) {
	h := open(t)
	corpus, err := litmus.Corpus()
	if err != nil {
		t.Fatal(err)
	}
	compareAll(t, h, corpus)
}

// TestRandom runs random programs: PTEMU_PROGRAMS of them, 600 without, from seed PTEMU_SEED on.
func TestRandom(t *testing.T) {
	h := open(t)
	programs, seed := 600, 1000
	for name, n := range map[string]*int{"PTEMU_PROGRAMS": &programs, "PTEMU_SEED": &seed} {
		if s := os.Getenv(name); s != "" {
			var err error
			if *n, err = strconv.Atoi(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	compareAll(t, h, random(t, h, seed, programs))
}
