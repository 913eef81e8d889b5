//go:build !unix

package qmp

import (
	"context"
	"errors"
	"os"
)

// SendFile always fails: files go through local sockets of Unix only.
func (m *Monitor) SendFile(context.Context, string, *os.File) error {
	return errors.New("monitor: this system cannot hand an open file to QEMU")
}
