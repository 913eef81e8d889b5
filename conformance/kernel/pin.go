//go:build linux && amd64

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// opPin pins pages for writing: an io_uring takes them as a fixed buffer, pin_user_pages_fast(FOLL_WRITE |
// FOLL_LONGTERM).
//
// Linux: io_uring/rsrc.c:io_sqe_buffer_register()
func opPin(t *Target, c *litmus.Call, p *process) error {
	if t.handles[c.Op.Name] != nil {
		return fmt.Errorf("%s is held already", c.Op.Name)
	}
	h, err := t.register(c, p)
	if err != nil {
		return t.gupError(c, p, err)
	}
	return t.hold(c, p, h)
}

// register makes the pages the fixed buffer of an io_uring.
func (t *Target) register(c *litmus.Call, p *process) (*handle, error) {
	d := p.slot.Data()
	const parameters = 128
	clear(d[:parameters])
	fd, err := p.call(unix.SYS_IO_URING_SETUP, 1, p.at(0))
	if err != nil {
		return nil, fmt.Errorf("io_uring_setup: %v", err)
	}
	binary.LittleEndian.PutUint64(d, uint64(c.At.VA))
	binary.LittleEndian.PutUint64(d[8:], c.At.Bytes())
	const registerBuffers = 0
	if _, err := p.call(unix.SYS_IO_URING_REGISTER, fd, registerBuffers, p.at(0), 1); err != nil {
		return nil, errors.Join(err, p.close(fd))
	}
	fds, err := t.k.take(p, fd)
	return &handle{fds: fds, ring: true}, err
}
