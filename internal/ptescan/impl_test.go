package ptescan

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(raceVariable) != "" {
		raceOnPurpose()
	}
	os.Exit(m.Run())
}

// TestRequiredLevel fails if the environment demands a level that is not there. It reads both variables itself, so that
// the go command does not take a result from its cache that was made with others.
func TestRequiredLevel(t *testing.T) {
	if cap := os.Getenv(capVariable); cap != "" {
		if l, err := levelNamed(cap); err != nil || level > l {
			t.Errorf("%s=%s: level %v, %v", capVariable, cap, level, err)
		}
	}
	if want := os.Getenv(requireVariable); want != "" {
		if l, err := levelNamed(want); err != nil || level < l {
			t.Errorf("%s=%s: this build on this host has level %v, %v", requireVariable, want, level, err)
		}
	}
}

// forEachImpl runs f as a subtest under every level that this process can use.
func forEachImpl(t *testing.T, f func(t *testing.T)) {
	best := level
	defer func() { level = best }()
	for level = Generic; ; level++ {
		t.Run(level.String(), f)
		if level == best {
			return
		}
	}
}

func TestChooseLevel(t *testing.T) {
	for _, c := range []struct {
		host Level
		name string
		want Level
	}{
		{AVX512, "", AVX512},
		{AVX512, "generic", Generic},
		{AVX512, "avx2", AVX2},
		{AVX2, "avx512", AVX2}, // a variable cannot raise it
		{Generic, "avx2", Generic},
		{AVX512, "sse", AVX512},
	} {
		if got := chooseLevel(c.host, c.name); got != c.want {
			t.Errorf("chooseLevel(%v, %q) = %v, want %v", c.host, c.name, got, c.want)
		}
	}
}
