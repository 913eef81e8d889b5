//go:build unix

package qmp

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
)

// SendFile hands an open file to QEMU, which keeps it under a name until a command uses it.
func (m *Monitor) SendFile(ctx context.Context, name string, f *os.File) error {
	conn, ok := m.conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("monitor: files go through local sockets only")
	}
	request, err := encode("getfd", map[string]any{"fdname": name})
	if err != nil {
		return err
	}
	if err := m.setDeadline(ctx); err != nil {
		return err
	}
	if _, _, err := conn.WriteMsgUnix(request, syscall.UnixRights(int(f.Fd())), nil); err != nil {
		return fmt.Errorf("monitor: getfd: %w", err)
	}
	_, err = m.answer("getfd")
	return err
}
