//go:build linux && amd64

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ptemu/conformance/wire"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// The userfaultfd interface. Linux: include/uapi/linux/userfaultfd.h
const (
	uffdioAPI          = 0xc018aa3f
	uffdioRegister     = 0xc020aa00
	uffdioUnregister   = 0x8010aa01
	uffdioCopy         = 0xc028aa03
	uffdioZeropage     = 0xc020aa04
	uffdioMove         = 0xc028aa05
	uffdioWriteprotect = 0xc018aa06
	uffdioContinue     = 0xc020aa07
	uffdioPoison       = 0xc020aa08

	uffdAPI         = 0xaa
	uffdModeMissing = 1 << 0
	uffdModeWP      = 1 << 1

	uffdProtect    = 1 << 0
	uffdDontWake   = 1 << 1
	uffdCopyWP     = 1 << 1
	uffdContinueWP = 1 << 1
	uffdMoveHoles  = 1 << 1

	featureWP            = 1 << 0
	featureFork          = 1 << 1
	featureRemap         = 1 << 2
	featureMissingShmem  = 1 << 5
	featureSigbus        = 1 << 7
	featureWPShmem       = 1 << 12
	featureWPUnpopulated = 1 << 13
	featurePoison        = 1 << 14
	featureWPAsync       = 1 << 15
	featureMove          = 1 << 16
)

// uffdFeatures are those that programs name.
var uffdFeatures = map[string]uint64{
	"wp-unpopulated": featureWPUnpopulated, "wp-async": featureWPAsync, "event-fork": featureFork, "event-remap": featureRemap,
	"sigbus": featureSigbus,
}

// uffdOps are the verbs of userfaultfd.
var uffdOps = map[string]opFunc{
	"uffd": opUffd,
	"uffd-close": func(t *Target, _ *litmus.Call, p *process) error {
		if p.uffd < 0 {
			return unix.EINVAL
		}
		_, err := p.call(unix.SYS_CLOSE, uint64(p.uffd))
		p.uffd = -1
		if p.watched != 0 {
			err = errors.Join(err, t.k.ring(wire.OpUnwatch, p.watched), t.k.drop(p.watched))
			p.watched = 0
		}
		return err
	},
	"uffd-register": func(t *Target, c *litmus.Call, p *process) error {
		var mode uint64
		if c.Op.Has("missing") {
			mode |= uffdModeMissing
		}
		if c.Op.Has("wp") {
			mode |= uffdModeWP
		}
		return t.uffdRange(c, p, uffdioRegister, mode, 0)
	},
	"uffd-unregister": uffdOp(uffdioUnregister),
	"uffd-protect":    uffdOp(uffdioWriteprotect, uffdProtect),
	"uffd-resolve":    uffdOp(uffdioWriteprotect, 0),
	"uffd-zero":       uffdOp(uffdioZeropage, 0, 0),
	"uffd-poison":     uffdOp(uffdioPoison, 0, 0),
	"uffd-continue": func(t *Target, c *litmus.Call, p *process) error {
		return t.uffdRange(c, p, uffdioContinue, optional(c.Op, "wp", uffdContinueWP), 0)
	},
	"uffd-copy": opUffdCopy,
	"uffd-move": func(t *Target, c *litmus.Call, p *process) error {
		return t.uffdCall(p, uffdioMove, uint64(c.To.VA), uint64(c.At.VA), c.At.Bytes(), optional(c.Op, "holes", uffdMoveHoles), 0)
	},
}

// optional returns the flag if the option is given.
func optional(op *litmus.Op, name string, flag uint64) uint64 {
	if op.Has(name) {
		return flag
	}
	return 0
}

// uffdOp makes a verb of a request that takes a range and what else is given.
func uffdOp(request uint64, more ...uint64) opFunc {
	return func(t *Target, c *litmus.Call, p *process) error { return t.uffdRange(c, p, request, more...) }
}

func (t *Target) uffdRange(c *litmus.Call, p *process, request uint64, more ...uint64) error {
	return t.uffdCall(p, request, append([]uint64{uint64(c.At.VA), c.At.Bytes()}, more...)...)
}

// uffdCall makes a request with a structure of words. A process without a userfaultfd gets one without features.
func (t *Target) uffdCall(p *process, request uint64, words ...uint64) error {
	if p.uffd < 0 {
		if err := t.openUffd(p, 0); err != nil {
			return err
		}
	}
	return p.ioctl(uint64(p.uffd), request, words...)
}

// ioctl makes a request with a structure of words, which it leaves in the data as the kernel left it.
func (p *process) ioctl(fd, request uint64, words ...uint64) error {
	for i, w := range words {
		binary.LittleEndian.PutUint64(p.slot.Data()[i*8:], w)
	}
	_, err := p.call(unix.SYS_IOCTL, fd, request, p.at(0))
	return err
}

func opUffd(t *Target, c *litmus.Call, p *process) error {
	var features uint64
	for _, o := range c.Op.Options {
		features |= uffdFeatures[o.Name]
	}
	return t.openUffd(p, features)
}

// openUffd opens the userfaultfd of the process; one that it has had stays open, without a name.
func (t *Target) openUffd(p *process, features uint64) error {
	fd, err := p.call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	if err := p.ioctl(fd, uffdioAPI, uffdAPI, features|featureSigbus, 0); err != nil {
		return err
	}
	p.uffd, p.sigbus = int(fd), features&featureSigbus != 0
	if features&(featureFork|featureRemap) != 0 {
		return t.k.watch(p)
	}
	return nil
}

// watch has process 1 read the events of the process's userfaultfd: who causes one waits until it is read.
func (k *Kernel) watch(p *process) error {
	mine, err := k.share(p, uint64(p.uffd))
	if err != nil {
		return err
	}
	p.watched = mine
	return k.ring(wire.OpWatch, mine)
}

// adopt gives a child the userfaultfd of its own that an event of the fork brought process 1, if there was one.
func (k *Kernel) adopt(child, parent *process) error {
	mine := k.init.Word(wire.Forked)
	if mine == 0 {
		return nil
	}
	k.held = append(k.held, mine)
	pidfd, err := child.call(unix.SYS_PIDFD_OPEN, 1, 0)
	if err != nil {
		return fmt.Errorf("pidfd_open: %v", err)
	}
	fd, err := child.call(unix.SYS_PIDFD_GETFD, pidfd, mine, 0)
	if err := errors.Join(err, child.close(pidfd)); err != nil {
		return fmt.Errorf("pidfd_getfd: %v", err)
	}
	child.uffd, child.sigbus, child.watched = int(fd), parent.sigbus, mine
	return nil
}

func opUffdCopy(t *Target, c *litmus.Call, p *process) error {
	source, err := t.source(p, byte(c.Op.Num("=", defaultByte)), c.At.Pages)
	if err != nil {
		return err
	}
	return t.uffdCall(p, uffdioCopy, uint64(c.At.VA), source, c.At.Bytes(), optional(c.Op, "wp", uffdCopyWP), 0)
}
