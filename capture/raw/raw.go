// Package raw reads a flat file of physical memory: no header, byte n of the file is the byte at physical address
// base+n.
//
//	0            physical address base, a multiple of 4096
//	4096*n       frame base/4096+n
//	end of file  a tail shorter than a frame is not in the capture
//
// Such files come from QEMU's pmemsave, from dd of a memory device, and from LiME's raw and padded formats. LiME's
// raw format joins the ranges without their addresses: everything above the first hole is then at a wrong address,
// and nothing in the file tells.
//
// What must always hold: no byte of the file can be wrong, so only the base can make Open fail.
package raw

import (
	"fmt"
	"io"

	"ptemu/arch/x86"
	"ptemu/capture/ferr"
	"ptemu/capture/internal/segmap"
	"ptemu/physmem"
)

const format = "raw"

// File is an open flat file. It implements [physmem.Reader], for any number of goroutines at a time.
type File struct{ mem *segmap.Map }

// Open takes the first size bytes of r as memory that starts at base.
func Open(r io.ReaderAt, size int64, base x86.Phys) (*File, error) {
	if base.Offset() != 0 {
		return nil, fmt.Errorf("raw memory cannot start at %v: not a multiple of %d", base, x86.PageSize)
	}
	if size < 0 {
		return nil, fmt.Errorf("raw memory of unknown size")
	}
	n := uint64(size) &^ (x86.PageSize - 1)
	segs := segmap.NewBuilder(size, 1)
	if err := segs.Add(uint64(base), n, n, 0); err != nil {
		return nil, ferr.At(format, 0, err)
	}
	mem, err := segs.Build(r, format)
	if err != nil {
		return nil, ferr.At(format, 0, err)
	}
	return &File{mem: mem}, nil
}

// ReadFrame implements [physmem.Reader].
func (f *File) ReadFrame(pfn x86.PFN, dst *physmem.Frame) error { return f.mem.ReadFrame(pfn, dst) }

// Ranges implements [physmem.Reader].
func (f *File) Ranges() []physmem.Range { return f.mem.Ranges() }
