//go:build linux && amd64

package kernel

import (
	"encoding/binary"
	"strconv"

	"ptemu/arch/x86"
	"ptemu/conformance/wire"
	"ptemu/litmus"

	"golang.org/x/sys/unix"
)

// pageOps are the verbs of pages and files.
var pageOps = map[string]opFunc{
	"clear-refs": func(t *Target, c *litmus.Call, p *process) error {
		what := "4"
		if c.Op.Has("referenced") {
			what = "1"
		}
		return t.k.write("/proc/"+strconv.Itoa(p.pid)+"/clear_refs", what)
	},
	"migrate":      opMigrate,
	"swap-out":     func(t *Target, c *litmus.Call, p *process) error { return t.advise(c, p, "pageout") },
	"collapse":     func(t *Target, c *litmus.Call, p *process) error { return t.advise(c, p, "collapse") },
	"poison":       func(t *Target, c *litmus.Call, p *process) error { return t.advise(c, p, "hwpoison") },
	"scan-protect": opScanProtect,
}

// opMigrate moves pages to a node, without one to the next.
func opMigrate(t *Target, c *litmus.Call, p *process) error {
	for i := range c.At.Pages {
		va := c.At.VA + x86.Virt(i)*x86.PageSize
		node := c.Op.Num("node", 0)
		if !c.Op.Has("node") {
			v, err := t.entry(p, va)
			if err != nil {
				return err
			}
			if pfn, ok := t.pfnOf(&v); ok {
				node = uint64(t.k.m.Node(pfn)+1) % 2
			}
		}
		if err := p.movePage(va, node, !c.Op.Has("own")); err != nil {
			return err
		}
	}
	return nil
}

func (p *process) movePage(va x86.Virt, node uint64, all bool) error {
	const own, everybody = 2, 4
	const pageAt, nodeAt, statusAt = 0, 8, 16
	flags := uint64(own)
	if all {
		flags = everybody
	}
	d := p.slot.Data()
	binary.LittleEndian.PutUint64(d[pageAt:], uint64(va))
	binary.LittleEndian.PutUint32(d[nodeAt:], uint32(node))
	binary.LittleEndian.PutUint32(d[statusAt:], 0)
	if _, err := p.call(unix.SYS_MOVE_PAGES, 0, 1, p.at(pageAt), p.at(nodeAt), p.at(statusAt), flags); err != nil {
		return err
	}
	return errnoError(uint64(int64(int32(binary.LittleEndian.Uint32(d[statusAt:])))))
}

// source returns the address of pages full of a byte, in memory of the process that no program uses.
func (t *Target) source(p *process, b byte, pages int) (uint64, error) {
	const at = wire.Base - 1<<32
	length := uint64(pages) * x86.PageSize
	if _, err := p.call(unix.SYS_MMAP, at, length, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uint64(0), 0); err != nil {
		return 0, err
	}
	return at, p.ring(wire.OpAccess, wire.Store, at, uint64(b), x86.PageSize, uint64(pages))
}

// PAGEMAP_SCAN. Linux: include/uapi/linux/fs.h:struct pm_scan_arg
const (
	pagemapScan      = 0xc0606610
	scanWPMatching   = 1 << 0
	scanCheckWPAsync = 1 << 1
	pageIsWritten    = 1 << 1
)

// pagemap returns the descriptor of the process's own pagemap.
func (p *process) pagemap() (uint64, error) {
	if p.scan < 0 {
		fd, err := p.call(unix.SYS_OPEN, p.text(0, "/proc/self/pagemap"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		p.scan = int(fd)
	}
	return uint64(p.scan), nil
}

// opScanProtect write-protects what was written.
func opScanProtect(_ *Target, c *litmus.Call, p *process) error {
	fd, err := p.pagemap()
	if err != nil {
		return err
	}
	const size = 96
	start, end := uint64(c.At.VA), uint64(c.At.VA)+c.At.Bytes()
	return p.ioctl(fd, pagemapScan, size, scanWPMatching|scanCheckWPAsync, start, end, 0, 0, 0, 0, 0, pageIsWritten, 0, 0)
}
