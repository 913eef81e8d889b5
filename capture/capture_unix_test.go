//go:build unix

package capture

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestPipe: opening a pipe that nobody writes to would wait forever.
func TestPipe(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := Open(fifo, Options{}); err == nil || !strings.Contains(err.Error(), "pipe") {
		t.Errorf("error %v", err)
	}
}
