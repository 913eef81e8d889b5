package ptescan

import (
	"fmt"
	"os"
)

// Level is a set of host instructions that kernels may use.
type Level uint8

// The levels, worst first.
const (
	Generic Level = iota // plain Go
	AVX2
	AVX512 // F, BW, DQ and VL
)

var levelNames = [...]string{"generic", "avx2", "avx512"}

// String returns the name that the environment variables use.
func (l Level) String() string { return levelNames[l] }

// The environment variables: one lowers the level, one makes the tests fail if it is not reached.
const (
	capVariable     = "PT_CPU"
	requireVariable = "PT_REQUIRE_CPU"
)

// level is the level in use. Only tests change it after start.
var level = chooseLevel(hostLevel(), os.Getenv(capVariable))

// CPULevel returns the level that the kernels of this process use.
func CPULevel() Level { return level }

// chooseLevel lowers host to the level named. A name that is none leaves it as it is: the variable only ever makes
// things slower, never wrong, and a library has nobody to tell.
func chooseLevel(host Level, name string) Level {
	if l, err := levelNamed(name); err == nil {
		return min(host, l)
	}
	return host
}

func levelNamed(name string) (Level, error) {
	for i, n := range levelNames {
		if n == name {
			return Level(i), nil
		}
	}
	return 0, fmt.Errorf("ptescan: no CPU level %q: want generic, avx2 or avx512", name)
}
