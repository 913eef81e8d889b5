package kernel

import (
	"os"
	"path/filepath"
)

// Config says which kernel, and where the files are.
type Config struct {
	Kernel  string // "6.12"
	Cache   string // of capture.sh prepare; "": where the script puts it
	Agent   string // the agent's binary; "": Cache/agent
	CPU     string // QEMU's -cpu; "": four levels, everything that TCG has
	Options string // more for the kernel's command line
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
