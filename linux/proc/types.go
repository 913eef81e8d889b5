package proc

import (
	"errors"
	"fmt"

	"ptemu/arch/x86"
	"ptemu/linux"
	"ptemu/linux/ktype"
)

var btfMagic = []byte(ktype.Magic)

// Bounds of what is looked at: modules have type information of their own.
const (
	maxBlobs     = 1 << 14
	maxBlobBytes = 8 * ktype.MaxSize // of all of them
)

// findTypes reads the kernel's type information: where the symbols say, else where it is found in the kernel image, else
// where it is found in RAM.
//
// Linux: include/asm-generic/vmlinux.lds.h:BTF
func (f *finder) findTypes() error {
	t, at, err := f.symbolTypes()
	if err == nil {
		f.types = t
		f.fact("types", at, "BTF between __start_BTF and __stop_BTF")
		return nil
	}
	if f.syms != nil {
		f.warn("the type information (BTF) that the symbols name: %v", err)
	}
	if f.typesInImage() {
		return nil
	}
	return f.typesInRAM()
}

// symbolTypes reads the type information that the symbols name, and says where that is.
func (f *finder) symbolTypes() (*ktype.Types, string, error) {
	start, okStart := f.symbol("__start_BTF")
	end, okEnd := f.symbol("__stop_BTF")
	if !okStart || !okEnd || end <= start || end-start > ktype.MaxSize {
		return nil, "", fmt.Errorf("from %v to %v: %w", start, end, ktype.ErrNotFound)
	}
	blob := make([]byte, end-start)
	if err := f.mem.ReadAt(blob, start); err != nil {
		return nil, "", err
	}
	t, err := ktype.Parse(blob)
	return t, fmt.Sprintf("%d bytes at %v", len(blob), start), err
}

// typesInImage looks through what is mapped of the kernel image.
func (f *finder) typesInImage() bool {
	l := f.sys.Layout
	var page [x86.PageSize + ktype.HeaderSize]byte
	for va := l.TextFirst; va != 0 && va < l.TextLast && f.ctx.Err() == nil; va += x86.PageSize {
		b := page[:]
		if f.mem.ReadAt(b, va) != nil {
			b = page[:x86.PageSize]
			if f.mem.ReadAt(b, va) != nil {
				continue
			}
		}
		for at := range headersIn(b) {
			if f.typesAt(func(b []byte, off uint64) error { return f.mem.ReadAt(b, va+x86.Virt(uint64(at)+off)) }) {
				f.fact("types", (va + x86.Virt(at)).String(), "BTF found in the kernel image")
				return true
			}
		}
	}
	return false
}

// typesInRAM looks through all of RAM. The type information is a part of the kernel image, which is in one piece.
func (f *finder) typesInRAM() error {
	places, err := linux.FindBytes(f.ctx, f.phys, btfMagic, 4, maxBlobs, f.opt.Progress)
	if err != nil && !errors.Is(err, linux.ErrTooManyPlaces) {
		return err
	}
	for _, pa := range places {
		if f.ctx.Err() != nil {
			return f.ctx.Err()
		}
		if f.typesAt(func(b []byte, off uint64) error { return f.readPhys(b, pa+x86.Phys(off)) }) {
			f.fact("types", pa.String(), "BTF found by searching RAM")
			return nil
		}
	}
	return fmt.Errorf("no type information (BTF): %w", ktype.ErrNotFound)
}

// typesAt tries to read type information of a kernel: that of a module does not have what is needed.
func (f *finder) typesAt(read func(b []byte, off uint64) error) bool {
	var head [ktype.HeaderSize]byte
	if read(head[:], 0) != nil {
		return false
	}
	n, err := ktype.Size(head[:])
	if err != nil || n > f.blobBytesLeft {
		return false
	}
	f.blobBytesLeft -= n
	blob := make([]byte, n)
	if read(blob, 0) != nil {
		return false
	}
	t, err := ktype.Parse(blob)
	if err != nil {
		return false
	}
	if _, err := findShapes(t); err != nil {
		return false
	}
	f.types = t
	return true
}
