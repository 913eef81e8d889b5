// Package capture opens a memory capture of a machine, in whatever format it is and whether compressed or not.
//
//	file            sniffed by its first bytes, never by its name
//	 └ .gz, .zst    unpacked as far as reads need it, at most two layers
//	    ├ ELF core  \x7fELF                   package elfcore
//	    ├ kdump     KDUMP                     package kdump
//	    ├ flattened makedumpfile              package kdump; what it holds is kdump or an ELF core
//	    ├ LiME      EMiL                      package lime
//	    ├ AVML      AVML                      package avml
//	    └ raw       only when asked for       package raw
//	qmp:SOCKET      a running QEMU guest      package qemu
//
// Whatever the format, the result is the same: frames of physical memory, and the notes that came with them.
// This package knows frames and never looks into them.
//
// What must always hold: opening reads headers, not memory, so it is quick for any size (a compressed capture whose
// format scatters its headers has to be unpacked for them); a file that lies gives an error that names the offset.
package capture

import (
	"fmt"
	"io"
	"strings"

	"ptemu/arch/x86"
	"ptemu/capture/avml"
	"ptemu/capture/elfcore"
	"ptemu/capture/elfnote"
	"ptemu/capture/internal/unpack"
	"ptemu/capture/kdump"
	"ptemu/capture/lime"
	"ptemu/capture/raw"
	"ptemu/physmem"
)

// Options say how to open a capture. The zero Options suit every file that says what it is.
type Options struct {
	// Format, unless it is Auto, is taken for granted. Raw files need it.
	Format Format
	// RawBase is the physical address of the first byte of a raw file.
	RawBase x86.Phys
	// MaxUnpackRatio is how many times the size of a compressed file may come out of it, where that is more than
	// 256 MiB. 0 stands for 1000; negative, for no limit.
	MaxUnpackRatio int64
	// Progress, if not nil, is told how much of a compressed file has been unpacked, from 0 to 1, while it is.
	Progress func(float64)
}

// Capture is an open memory capture.
type Capture struct {
	Path string
	// Format says what the file is, for people: "ELF core (QEMU)", "gzip, LiME".
	Format string
	// Mem is the memory. It must not be used after Close.
	Mem physmem.Reader
	// CPUs, Notes and VMCoreInfo are what the capture says besides; formats without notes leave them nil.
	CPUs       []elfnote.CPU
	Notes      []elfnote.Note
	VMCoreInfo []byte
	// Remarks are what was seen and passed over while opening, a sentence each.
	Remarks []string
	// Size is that of the file on disk, in bytes; -1 where the system does not say.
	Size int64

	close []io.Closer
}

// Open opens the capture in the file path, or, with [LivePrefix], a running guest. Errors about its content are, or wrap, a [*FormatError].
func Open(path string, opt Options) (*Capture, error) {
	if socket, ok := strings.CutPrefix(path, LivePrefix); ok {
		return openLive(path, socket)
	}
	src, err := openSource(path)
	if err != nil {
		return nil, err
	}
	c := &Capture{Path: path, Size: src.size, close: []io.Closer{src}}
	if err := c.open(src, opt); err != nil {
		c.Close()
		return nil, withPath(path, err)
	}
	return c, nil
}

// Close closes the file. Nothing may be reading from Mem.
func (c *Capture) Close() error {
	var first error
	for i := len(c.close) - 1; i >= 0; i-- {
		if err := c.close[i].Close(); err != nil && first == nil {
			first = err
		}
	}
	c.close = nil
	return first
}

func (c *Capture) open(src *source, opt Options) error {
	var r io.ReaderAt = src
	size := src.trustedSize()
	sizeOf := func() (int64, error) { return src.size, nil } // asked only where the format needs it

	head, err := readHead(r)
	if err != nil {
		return err
	}
	prefix := ""
	if unpack.Sniff(head) != unpack.None {
		s, err := unpack.Open(c.Path, watched(src, opt.Progress), opt.MaxUnpackRatio)
		if err != nil {
			return err
		}
		c.close = append(c.close, s)
		r, size, sizeOf, prefix = s, -1, s.Size, s.Method+", "
		if head, err = readHead(r); err != nil {
			return err
		}
	}

	format := opt.Format
	if format == Auto {
		if format, err = sniff(head); err != nil {
			return err
		}
	}
	if err := c.openFormat(format, r, size, sizeOf, head, opt); err != nil {
		return err
	}
	c.Format = prefix + c.Format
	if m, ok := c.Mem.(interface{ Missing() uint64 }); ok && m.Missing() > 0 {
		c.Remarks = append(c.Remarks, fmt.Sprintf("the file ends early: %d bytes of memory are missing", m.Missing()))
	}
	return nil
}

// watched returns the source as a reader that tells f how far it was read.
func watched(src *source, f func(float64)) io.ReaderAt {
	if f == nil || src.size <= 0 {
		return src
	}
	return readerAtFunc(func(p []byte, off int64) (int, error) {
		n, err := src.ReadAt(p, off)
		f(float64(off+int64(n)) / float64(src.size))
		return n, err
	})
}

type readerAtFunc func([]byte, int64) (int, error)

// ReadAt implements [io.ReaderAt].
func (f readerAtFunc) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }

func (c *Capture) openFormat(format Format, r io.ReaderAt, size int64, sizeOf func() (int64, error), head []byte, opt Options) error {
	switch format {
	case ELF:
		f, err := elfcore.Open(r, size)
		if err != nil {
			return err
		}
		c.Format, c.Mem, c.CPUs, c.Notes, c.VMCoreInfo = f.Format(), f, f.CPUs, f.Notes, f.VMCoreInfo
		if f.NoPhys > 0 {
			c.Remarks = append(c.Remarks, fmt.Sprintf("%d memory segments have no physical address and were left out", f.NoPhys))
		}
	case Kdump:
		if kdump.IsFlat(head) {
			flat, err := kdump.OpenFlat(r, size)
			if err != nil {
				return err
			}
			r, size = flat, flat.Size()
			if head, err = readHead(r); err != nil {
				return err
			}
			if inner, err := sniff(head); err == nil && inner == ELF {
				err := c.openFormat(ELF, r, size, nil, head, opt)
				c.Format += ", flattened"
				return err
			}
		}
		f, err := kdump.Open(r, size)
		if err != nil {
			return err
		}
		c.Format, c.Mem, c.CPUs, c.Notes, c.VMCoreInfo = f.Format(), f, f.CPUs, f.Notes, f.VMCoreInfo
	case LiME:
		if isAVML(head) {
			f, err := avml.Open(r, size)
			if err != nil {
				return err
			}
			c.Format, c.Mem = "AVML", f
			return nil
		}
		f, err := lime.Open(r, size)
		if err != nil {
			return err
		}
		c.Format, c.Mem = "LiME", f
	case Raw:
		size, err := sizeOf()
		if err != nil {
			return err
		}
		f, err := raw.Open(r, size, opt.RawBase)
		if err != nil {
			return err
		}
		c.Format, c.Mem = "raw", f
	default:
		return fmt.Errorf("unknown capture format %q", format)
	}
	return nil
}
