package kernel

import (
	"os"
	"path/filepath"
	"time"
)

// Config says which kernel, and where the files are.
type Config struct {
	Kernel string // "6.12"
	Cache  string // of capture.sh prepare; "": where the script puts it
	Agent  string // the agent's binary; "": Cache/agent
	Levels int    // of page tables: 5, or four
	PTI    bool   // page-table isolation: user mode has a root table of its own

	// Patience is how long a program may run, 0: three minutes. A call that makes no progress is ended by nobody.
	Patience time.Duration
}

// levels is 4 or 5.
func (c Config) levels() int {
	const usual = 4
	return max(c.Levels, usual)
}

// patience is how long a program may run.
func (c Config) patience() time.Duration {
	const usual = 3 * time.Minute
	if c.Patience == 0 {
		return usual
	}
	return c.Patience
}

// DefaultCache is where capture.sh prepare puts things.
func DefaultCache() string {
	if dir := os.Getenv("PTEMU_CACHE"); dir != "" {
		return dir
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "ptemu")
	}
	return ""
}
