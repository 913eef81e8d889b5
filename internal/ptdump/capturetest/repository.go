package capturetest

import (
	"os"
	"path/filepath"
)

// Repository returns the folder of the repository that a test runs in.
func Repository() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if up := filepath.Dir(dir); up != dir {
			dir = up
			continue
		}
		break
	}
	panic("tests run outside of the repository")
}
