package ptescan

import "os"

// Use makes the kernels of this process run at level l, or at the best level below it that the host and the environment
// permit, and returns what undoes that. It is for benchmarks, which compare levels in one process, and for nothing else:
// no kernel may be running meanwhile, and a [Change] or a [Copy] keeps the level that it was made at.
func Use(l Level) (restore func()) {
	old := level
	level = min(l, chooseLevel(hostLevel(), os.Getenv(capVariable)))
	return func() { level = old }
}
