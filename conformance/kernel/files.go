//go:build linux && amd64

package kernel

import (
	"bytes"
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// fileOps are the verbs of files.
var fileOps = map[string]opFunc{
	"file":      opFile,
	"truncate":  withFile(opTruncate),
	"punch":     withFile(opPunch),
	"writeback": withFile(func(_ *litmus.Call, p *process, fd uint64) error { _, err := p.call(unix.SYS_FSYNC, fd); return err }),
	"file-write": withFile(func(c *litmus.Call, p *process, fd uint64) error {
		first, n := bytesOf(c.Op)
		fill(p.slot.Data()[:n], byte(c.Op.Num("=", defaultByte)))
		_, err := p.call(unix.SYS_PWRITE64, fd, p.at(0), uint64(n), uint64(c.Op.Count)*x86.PageSize+uint64(first))
		return err
	}),
	"file-read": withFile(opFileRead),
	"msync":     onPages(unix.SYS_MSYNC, unix.MS_SYNC),
}

func fill(b []byte, value byte) {
	for i := range b {
		b[i] = value
	}
}

// folderOf is where files of a kind lie. Large folios are those of a tmpfs that has nothing else.
func folderOf(op *litmus.Op) string {
	switch {
	case op.Has("disk"):
		return "/disk/"
	case op.Has("ramfs"):
		return "/ramfs/"
	case op.Has("order"):
		return "/hugeshm/"
	}
	return "/shm/"
}

// fileNotHere returns why a file of this kind cannot be had.
func (k *Kernel) fileNotHere(op *litmus.Op) string {
	order := op.Num("order", 0)
	other := op.Has("disk") || op.Has("ramfs")
	switch {
	case k.this:
		return "only files of shared memory" // the host has its own
	case other && !op.Has("mkwrite"):
		return "all file systems but that of shared memory hear of first writes" // generic_file_vm_ops
	case op.Has("disk") && !k.disk:
		return "no file system on a disk: the cache has no ext4 module (conformance/capture.sh prepare)"
	case order != 0 && (other || order != hugeOrder):
		return "file systems choose the order of their folios themselves"
	}
	return ""
}

// hugeOrder is the order of a huge page.
const hugeOrder = 9

// opFile makes a file of zeros. An older one of the name is another file.
func opFile(t *Target, c *litmus.Call, p *process) error {
	path := folderOf(c.Op) + c.Op.Name
	if _, err := p.call(unix.SYS_UNLINK, p.text(0, path)); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	fd, err := p.call(unix.SYS_OPEN, p.text(0, path), unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	t.files[c.Op.Name] = path
	_, err = p.call(unix.SYS_FTRUNCATE, fd, uint64(c.Op.Count)*x86.PageSize)
	return errors.Join(err, p.close(fd))
}

func (p *process) close(fd uint64) error {
	_, err := p.call(unix.SYS_CLOSE, fd)
	return err
}

// open opens a file of the program; mappings keep it.
func (t *Target) open(p *process, name string) (int, error) {
	path, ok := t.files[name]
	if !ok {
		return 0, fmt.Errorf("there is no file %s on this kernel", name)
	}
	fd, err := p.call(unix.SYS_OPEN, p.text(0, path), unix.O_RDWR, 0)
	return int(fd), err
}

// withFile makes a verb of what is done to an open file.
func withFile(do func(c *litmus.Call, p *process, fd uint64) error) opFunc {
	return func(t *Target, c *litmus.Call, p *process) error {
		fd, err := t.open(p, c.Op.Name)
		if err != nil {
			return err
		}
		err = do(c, p, uint64(fd))
		return errors.Join(err, p.close(uint64(fd)))
	}
}

func opTruncate(c *litmus.Call, p *process, fd uint64) error {
	_, err := p.call(unix.SYS_FTRUNCATE, fd, uint64(c.Op.Count)*x86.PageSize)
	return err
}

func opPunch(c *litmus.Call, p *process, fd uint64) error {
	_, err := p.call(unix.SYS_FALLOCATE, fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE,
		uint64(c.Op.Count)*x86.PageSize, c.Op.Num("pages", 1)*x86.PageSize)
	return err
}

func opFileRead(c *litmus.Call, p *process, fd uint64) error {
	first, n := bytesOf(c.Op)
	got, err := p.call(unix.SYS_PREAD64, fd, p.at(0), uint64(n), uint64(c.Op.Count)*x86.PageSize+uint64(first))
	if err != nil {
		return err
	}
	if got != uint64(n) {
		return wrongError(fmt.Sprintf("the file ends after %d of %d bytes", got, n))
	}
	return compareBytes(c.Op, bytes.Clone(p.slot.Data()[:n]))
}

// compareBytes compares what was read of a page with what the operation expects.
func compareBytes(op *litmus.Op, b []byte) error {
	o, want := op.Option("=")
	first, _ := bytesOf(op)
	for i, v := range b {
		if want && uint64(v) != o.Num {
			return wrongError(fmt.Sprintf("byte %d of the page is %d, not %d", first+i, v, o.Num))
		}
	}
	return nil
}
