package truth

import (
	"os"
	"path/filepath"
)

// skipper is a test.
type skipper interface {
	Helper()
	Skipf(format string, args ...any)
}

// Whole returns the path of a file in a folder of whole captures, which are too large for the repository: they are below
// PTEMU_CAPTURES, or beside the repository, to which up leads. Where it is not, the test is skipped, and says so.
func Whole(t skipper, up, dir, name string) string {
	t.Helper()
	roots := filepath.SplitList(os.Getenv("PTEMU_CAPTURES"))
	if len(roots) == 0 {
		roots = []string{filepath.Join(up, "..", "shared", "captures")}
	}
	for _, r := range roots {
		p := filepath.Join(r, dir, name)
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	t.Skipf("%s/%s: neither in a folder of PTEMU_CAPTURES nor in ../shared/captures", dir, name)
	return ""
}
