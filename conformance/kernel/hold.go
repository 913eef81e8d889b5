//go:build linux && amd64

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// handle is pages that are held. What holds them is open in process 1, so that no fork and no exit of the program's
// processes changes it.
type handle struct {
	frames []x86.PFN
	fds    []uint64
	ring   bool // the first is an io_uring with the pages as its fixed buffer
}

// holdOps are the verbs of those who hold pages.
var holdOps = map[string]opFunc{
	"get":          opGet,
	"pin":          opPin,
	"release":      opRelease,
	"device-read":  opDeviceRead,
	"device-write": opDeviceWrite,
}

// opGet takes references, as a pipe does of pages that were spliced into it: get_user_pages_fast(FOLL_GET). It never
// asks for the right to write, so what a write would do to the entry is done before, by calls that do just that.
//
// Linux: fs/splice.c:vmsplice_to_pipe()
func opGet(t *Target, c *litmus.Call, p *process) error {
	if t.handles[c.Op.Name] != nil {
		return fmt.Errorf("%s is held already", c.Op.Name)
	}
	var err error
	switch {
	case c.Op.Has("force"):
		err = t.force(c, p)
	case c.Op.Has("write"):
		_, err = p.call(unix.SYS_MADVISE, uint64(c.At.VA), c.At.Bytes(), unix.MADV_POPULATE_WRITE)
	}
	if err != nil {
		return t.gupError(c, p, err)
	}
	h, err := t.splice(c, p)
	if err != nil {
		return t.gupError(c, p, err)
	}
	return t.hold(c, p, h)
}

// hold notes a handle and which pages it has.
func (t *Target) hold(c *litmus.Call, p *process, h *handle) error {
	t.handles[c.Op.Name] = h
	for i := range c.At.Pages {
		e, err := t.Entry(p.name, c.At.VA+x86.Virt(i)*x86.PageSize)
		if err != nil {
			return err
		}
		h.frames = append(h.frames, e.PFN)
	}
	return nil
}

// splice puts the pages into a pipe.
func (t *Target) splice(c *litmus.Call, p *process) (*handle, error) {
	if _, err := p.call(unix.SYS_PIPE2, p.at(0), unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	d := p.slot.Data()
	ends := []uint64{uint64(binary.LittleEndian.Uint32(d)), uint64(binary.LittleEndian.Uint32(d[4:]))}
	_, err := p.call(unix.SYS_FCNTL, ends[1], unix.F_SETPIPE_SZ, c.At.Bytes())
	if err == nil {
		binary.LittleEndian.PutUint64(d, uint64(c.At.VA))
		binary.LittleEndian.PutUint64(d[8:], c.At.Bytes())
		const nonBlocking = 2
		var n uint64
		if n, err = p.call(unix.SYS_VMSPLICE, ends[1], p.at(0), 1, nonBlocking); err == nil && n != c.At.Bytes() {
			err = unix.EFAULT
		}
	}
	if err != nil {
		return nil, errors.Join(err, p.close(ends[0]), p.close(ends[1]))
	}
	fds, err := t.k.take(p, ends...)
	return &handle{fds: fds}, err
}

// force writes to pages whatever rights the process has, as a debugger does, and changes nothing in them.
//
// Linux: fs/proc/base.c:mem_rw(), mm/memory.c:access_remote_vm() with FOLL_FORCE
func (t *Target) force(c *litmus.Call, p *process) error {
	fd, err := p.call(unix.SYS_OPEN, p.text(0, "/proc/self/mem"), unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	for i := range c.At.Pages {
		va := c.At.VA + x86.Virt(i)*x86.PageSize
		nr := uint64(unix.SYS_PREAD64)
		if c.Op.Has("write") {
			nr = unix.SYS_PWRITE64
			if p.slot.Data()[0], err = t.firstByte(p, va); err != nil {
				break
			}
		}
		if _, err = p.call(nr, fd, p.at(0), 1, uint64(va)); errors.Is(err, unix.EIO) {
			err = unix.EFAULT
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, p.close(fd))
}

// firstByte returns what the page holds, or will: zeros if there is none.
func (t *Target) firstByte(p *process, va x86.Virt) (byte, error) {
	e, err := t.Entry(p.name, va)
	if err != nil || e.Page == nil {
		b, swapped := t.swappedByte(&e)
		return b, errors.Join(err, swapped)
	}
	return e.Page.Contents, nil
}

// take moves descriptors of p to process 1.
func (k *Kernel) take(p *process, fds ...uint64) (taken []uint64, err error) {
	for _, fd := range fds {
		mine, err := k.share(p, fd)
		if err := errors.Join(err, p.close(fd)); err != nil {
			return nil, err
		}
		taken = append(taken, mine)
	}
	return taken, nil
}

// share gives process 1 a descriptor of p.
func (k *Kernel) share(p *process, fd uint64) (uint64, error) {
	pidfd, err := k.call(unix.SYS_PIDFD_OPEN, uint64(p.pid), 0)
	if err != nil {
		return 0, fmt.Errorf("pidfd_open: %v", err)
	}
	mine, err := k.call(unix.SYS_PIDFD_GETFD, pidfd, fd, 0)
	_, closing := k.call(unix.SYS_CLOSE, pidfd)
	if err := errors.Join(err, closing); err != nil {
		return 0, fmt.Errorf("pidfd_getfd: %v", err)
	}
	k.held = append(k.held, mine)
	return mine, nil
}

// drop closes descriptors in process 1.
func (k *Kernel) drop(fds ...uint64) (err error) {
	for _, fd := range fds {
		for i, h := range k.held {
			if h == fd {
				k.held = append(k.held[:i], k.held[i+1:]...)
				break
			}
		}
		_, closing := k.call(unix.SYS_CLOSE, fd)
		err = errors.Join(err, closing)
	}
	return err
}

func (t *Target) handle(name string) (*handle, error) {
	h := t.handles[name]
	if h == nil {
		return nil, fmt.Errorf("%s is not held on this kernel", name)
	}
	return h, nil
}

func opRelease(t *Target, c *litmus.Call, _ *process) error {
	h, err := t.handle(c.Op.Name)
	if err != nil {
		return err
	}
	delete(t.handles, c.Op.Name)
	if h.ring {
		const unregisterBuffers = 1
		if _, err := t.k.call(unix.SYS_IO_URING_REGISTER, h.fds[0], unregisterBuffers, 0, 0); err != nil {
			return err
		}
	}
	return t.k.drop(h.fds...)
}

// opDeviceRead reads what a handle holds, in the guest's memory.
func opDeviceRead(t *Target, c *litmus.Call, _ *process) error {
	h, err := t.handle(c.Op.Name)
	if err != nil {
		return err
	}
	first, n := bytesOf(c.Op)
	for _, pfn := range h.frames {
		if err := compareBytes(c.Op, t.k.m.Frame(pfn)[first:][:n]); err != nil {
			return err
		}
	}
	return nil
}

func opDeviceWrite(t *Target, c *litmus.Call, _ *process) error {
	h, err := t.handle(c.Op.Name)
	if err != nil {
		return err
	}
	first, n := bytesOf(c.Op)
	for _, pfn := range h.frames {
		fill(t.k.m.Frame(pfn)[first:][:n], byte(c.Op.Num("=", defaultByte)))
	}
	return nil
}
